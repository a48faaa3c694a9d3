"""The sources of an index: what its documents were read from, and how, in one file of the generation."""

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from cde_retrievers.errors import IndexFileError
from cde_retrievers.index.entries import Count, SourcesFile
from cde_retrievers.index.manifest import Manifest
from cde_retrievers.index.ownership import OwnedDirectory
from cde_retrievers.index.symlinks import new_file
from cde_retrievers.storage.checksums import Sha256
from cde_retrievers.storage.sync import sync_directory, sync_file

_REMEDY = (
    "restore it from a copy, or let any change of the index drop it, such as ContextualIndex.optimize(), and record "
    "the sources again with `cde-retrievers add INDEX SOURCE --upsert`"
)


class SourceRecord(BaseModel):
    """A source of documents, as it was when it was last read for the index.

    Attributes:
        path: where it is, absolute.
        reading: the options that it was read with, as JSON values.
        files: SHA-256 of each of its files by their names.
        ids: ids of its documents, file by file.
        read_by: versions of the packages that read and split them, by name; empty if that was not recorded.
        counts: number of these that each file has, in their order; ids behind them are of files that are not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: Annotated[str, Field(min_length=1)]
    reading: dict[str, Any]
    files: dict[str, Sha256]
    ids: tuple[str, ...]
    counts: dict[str, Count] = Field(default_factory=dict)
    read_by: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _counts_its_ids(self) -> Self:
        if sum(self.counts.values()) > len(self.ids):
            raise ValueError(f"{sum(self.counts.values())} ids are counted, but there are {len(self.ids)}")
        return self

    def with_files(self, files: Mapping[str, str], ids: Mapping[str, Sequence[str]]) -> Self:
        """Return this record with other files, and the ids of each; those below "" are of files not known."""
        known = {name: found for name, found in ids.items() if name and found}
        return self.model_copy(
            update={
                "files": dict(files),
                "ids": tuple(chain(*known.values(), ids.get("", ()))),
                "counts": {name: len(found) for name, found in known.items()},
            }
        )

    @property
    def ids_by_file(self) -> dict[str, tuple[str, ...]]:
        """The ids by the name of their file; below "" those of files that are not known, if there are any."""
        ids = iter(self.ids)
        found = {name: tuple(islice(ids, count)) for name, count in self.counts.items()}
        rest = tuple(ids)
        return {**found, "": rest} if rest else found


_RECORDS = TypeAdapter(tuple[SourceRecord, ...])


def with_record(
    records: Iterable[SourceRecord], record: SourceRecord, instead_of: Container[str] = ()
) -> tuple[SourceRecord, ...]:
    """Return the records with this one in place of those of the same path and of others, or at the end."""
    kept = {record.path if known.path in instead_of else known.path: known for known in records}
    return tuple({**kept, record.path: record}.values())


def write_sources(home: OwnedDirectory, records: Iterable[SourceRecord]) -> SourcesFile:
    """Write records to a new file, sync it to the device, and return its entry for the manifest."""
    path = home.path / f"sources-{home.new_name()}.json"
    with new_file(path) as file:
        file.write(_RECORDS.dump_json(tuple(records)))
    sync_file(path)
    sync_directory(home.path)
    return SourcesFile.of(path)


def read_sources(directory: Path, manifest: Manifest) -> tuple[SourceRecord, ...]:
    """Read the records of a generation; none if it has no file of them.

    Raises:
        IndexFileError: the file is missing or damaged.
    """
    entry = manifest.sources
    if entry is None:
        return ()
    damage = entry.damage(directory)
    if damage is not None:
        raise IndexFileError(f"{damage}; {_REMEDY}")
    path = directory / entry.name
    try:
        return _RECORDS.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise IndexFileError(f"{path} does not hold the sources of an index; {_REMEDY}") from error
