"""Files whose documents an index keeps although a source does not give them now: they are not gone, but not read."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from cde_retrievers.corpora.checked_pass import FilesRead, why_unread
from cde_retrievers.index.sources_file import SourceRecord


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """Documents that stay, since their files are there and were not read.

    Attributes:
        reasons: why each file was not read, by its name.
        hashes: what is recorded of their content.
        ids: ids of their documents.
    """

    reasons: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False)
    ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @property
    def documents(self) -> int:
        """Number of documents."""
        return sum(map(len, self.ids.values()))


def kept_files(before: SourceRecord | None, read: FilesRead, taken: Container[str]) -> KeptFiles:
    """Return the files that had documents and could not be read now, or are empty, as one that is being copied.

    Args:
        before: what the index records of the source; None if it is new.
        read: what its files hold now.
        taken: ids that other files have now, or other sources.
    """
    found = {} if before is None else before.ids_by_file
    reasons = {name: reason for name in found if (reason := _why_kept(name, read)) is not None}
    hashes = {} if before is None else {name: before.files[name] for name in reasons if name in before.files}
    ids = {name: tuple(i for i in found[name] if i not in taken) for name in reasons}
    return KeptFiles({name: reasons[name] for name in ids if ids[name]}, hashes, ids)


def _why_kept(name: str, read: FilesRead) -> str | None:
    if not name:  # recorded before files had ids
        return "which file they are of is not recorded, and some cannot be read" if read.unread else None
    if name in read.ids:
        return None if read.ids[name] else "it has no text now"
    return why_unread(name, read.unread)
