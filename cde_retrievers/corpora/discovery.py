"""The files of a source and their format."""

import logging
import os
import re
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.formats import BEIR_CORPUS, BEIR_QUERIES, ENDINGS, format_of
from cde_retrievers.corpora.paths import is_file, is_folder, leads_out, refuse_link_out, special_kind
from cde_retrievers.corpora.read_options import Format, ReadOptions
from cde_retrievers.corpora.readers.documents import CODE, is_code
from cde_retrievers.errors import ConfigurationError, CorpusFileError
from cde_retrievers.util.counted import counted

logger = logging.getLogger(__name__)

_MARKS_OF_SPHINX = ("objects.inv", "searchindex.js")
# The sources of its pages, indexes of their terms, and the page that searches them.
_REPEATED_BY_SPHINX = re.compile(r"_sources|(?:genindex(?:-[^/]*)?|py-modindex|search)\.html")


@dataclass(frozen=True, slots=True)
class Source:
    """The files to read, in the order of their names.

    Attributes:
        format: of all of them.
        files: at least one.
        left_out: why other files and folders that are there are not read, by name.
    """

    format: Format
    files: tuple[File, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def find_source(path: Path, reading: ReadOptions) -> Source:
    """Find the files at `path`, a file or a folder, except hidden ones, other formats and links out of it.

    Raises:
        CorpusFileError: there is nothing to read, it is not a file, or its format is unclear.
        ConfigurationError: endings are given where no files are chosen by them.
    """
    is_single = is_file(path)
    if reading.endings and (is_single or reading.format == "beir"):
        raise ConfigurationError(
            f"endings= (--ending) selects files in a folder, but {path} is a file or is read as BEIR; leave it out"
        )
    if is_single:
        return Source(reading.format or _format_of_file(path), (File(path, path.name),))
    if not is_folder(path):
        raise CorpusFileError(f"{path} does not exist; give a file or a folder of documents")
    if reading.format == "beir" or (reading.format is None and not reading.endings and is_beir(path)):
        return Source("beir", (_require_beir_corpus(path, reading.follow_links),))
    found = _walked(path, reading)
    files = [File(path / name, name) for name in found.files]
    asked = tuple(ending.lower() for ending in reading.endings)
    wanted = [file for file in files if file.path.name.lower().endswith(asked)] if asked else files
    chosen = reading.format or _format_of_folder(path, wanted)
    endings = asked or _endings(chosen, files)
    kept = tuple(file for file in files if file.path.name.lower().endswith(endings))
    if not kept:
        raise CorpusFileError(
            f"{path} has no files that end in {', '.join(endings)}{_seen(files)}; give another folder, or name the "
            f"endings with endings= (--ending)"
        )
    if len(kept) < len(files):
        others = set(files).difference(kept)
        logger.warning("%s: left out: %s of other formats%s", path, counted(len(others), "file"), _seen(others))
        found.left_out.update((file.name, "of another format than what is read") for file in others)
    return Source(
        chosen, kept, {name: why for name, why in found.left_out.items() if not _is_read_elsewhere(path / name, path)}
    )


def _is_read_elsewhere(path: Path, folder: Path) -> bool:
    """Whether this is a link to a folder whose files are read by other names."""
    return path.is_symlink() and path.is_dir() and not leads_out(path, folder)


def _endings(chosen: Format, files: list[File]) -> tuple[str, ...]:
    """Return the endings of a format's files; source code is read by itself where there are no documents."""
    documents = ENDINGS[chosen]
    has_documents = any(file.name.lower().endswith(documents) for file in files)
    return CODE if chosen == "text" and not has_documents and any(is_code(file.name) for file in files) else documents


def _format_of_file(path: Path) -> Format:
    if path.name in BEIR_CORPUS and is_beir(path.parent):
        return "beir"
    found = "text" if is_code(path.name) else format_of(path.name)
    if found is None:
        raise CorpusFileError(
            f"{path}: the format cannot be told from the file's ending; name one of {[*ENDINGS]} with format= "
            f"(--format)"
        )
    return found


def _format_of_folder(path: Path, files: list[File]) -> Format:
    found = {format_of(file.name) for file in files}
    present = [candidate for candidate in ENDINGS if candidate in found]
    if len(present) > 1 and "json" in present:  # settings, more often than documents
        present.remove("json")
    if len(present) > 1:
        raise CorpusFileError(
            f"{path} holds files of several formats{_seen(files)}; say which to read with format= (--format), one of "
            f"{present}"
        )
    return present[0] if present else "text"


def _walked(folder: Path, reading: ReadOptions) -> "Found":
    """Find the files below the folder except hidden ones; log what else is left out."""
    found = walk(folder, reading.follow_links, reading.skip_errors)
    if found.left_out:
        way_out = "; links are followed with follow_links=True (--follow-links)"
        has_links = any("link" in reason for reason in found.left_out.values())
        logger.warning(
            "%s: left out: %s (%s)%s",
            folder,
            counted(len(found.left_out), "entry"),
            str(found),
            way_out if has_links else "",
        )
    return found


def is_beir(folder: Path) -> bool:
    """Return whether the folder holds a corpus and queries; a corpus alone is not proof of BEIR."""
    return _beir_corpus(folder) is not None and any(is_file(folder / name) for name in BEIR_QUERIES)


def _beir_corpus(folder: Path) -> File | None:
    for name in BEIR_CORPUS:
        if is_file(folder / name):
            return File(folder / name, name)
    return None


def _require_beir_corpus(folder: Path, follow_links: bool) -> File:
    found = _beir_corpus(folder)
    if found is None:
        raise CorpusFileError(f"{folder} is not a BEIR folder: it has no {' or '.join(BEIR_CORPUS)}")
    if not follow_links:
        refuse_link_out(found.path, folder)
    return found


def _seen(files: Collection[File]) -> str:
    """Return the endings found, the most common first."""
    if not files:
        return " (it is empty)"
    counts = Counter(file.path.suffix.lower() or "no ending" for file in files)
    return " (" + ", ".join(f"{ending}: {count}" for ending, count in counts.most_common(5)) + ")"


@dataclass(slots=True)
class Found:
    """The contents of a folder, except hidden files and folders.

    Attributes:
        files: relative to the folder, with "/", by name.
        left_out: by the same names, why an entry was left out.
    """

    files: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return how many entries are left out and why, with one example of each kind."""
        examples = {reason: name for name, reason in sorted(self.left_out.items(), reverse=True)}
        counts = Counter(self.left_out.values())
        return "; ".join(f"{reason}: {counts[reason]}, such as {name}" for reason, name in sorted(examples.items()))


def walk(folder: Path, follow_links: bool, skip_errors: bool = False) -> Found:
    """Find the files below the folder; what Sphinx puts beside its pages from the same texts is left out.

    Args:
        folder: which exists.
        follow_links: whether to read what links lead to. If not, a link to a folder and a link out of `folder` are left
            out.
        skip_errors: whether to leave out folders in it that cannot be read.

    Raises:
        CorpusFileError: a folder cannot be read, and is not left out.
    """
    found = Found()
    # Links come last, so that what is below the folder has its own name there.
    pending, read = deque([""]), set()
    while pending:
        inside = pending.popleft()
        real = os.path.realpath(folder / inside)
        if real in read:
            found.left_out[inside] = "a link to a folder that is read already"
            continue
        read.add(real)
        try:
            entries = _entries(folder / inside)
        except CorpusFileError:
            if not skip_errors or not inside:
                raise
            found.left_out[inside] = "a folder that cannot be read"
            continue
        is_sphinx = any(entry.name in _MARKS_OF_SPHINX for entry in entries)
        for entry in entries:
            name = f"{inside}/{entry.name}" if inside else entry.name
            is_repeated = is_sphinx and _REPEATED_BY_SPHINX.fullmatch(entry.name)
            reason = "pages of Sphinx again" if is_repeated else _why_not(entry, folder, follow_links)
            if reason is not None:
                found.left_out[name] = reason
            elif not entry.is_dir():
                found.files.append(name)
            elif entry.is_symlink():
                pending.append(name)
            else:
                pending.appendleft(name)
    found.files.sort()
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise CorpusFileError(
            f"{folder} cannot be read: {error.strerror}; change its permissions, or give another folder"
        ) from error


def _why_not(entry: os.DirEntry[str], folder: Path, follow_links: bool) -> str | None:
    """Return why an entry is left out, or None."""
    try:
        special = special_kind(entry.stat().st_mode)
    except OSError:
        return "a link that leads nowhere" if entry.is_symlink() else "gone, or not to be looked at"
    if special is not None or follow_links or not entry.is_symlink():
        return special
    if entry.is_dir():
        return "a link to a folder"
    return "a link that leads out of the folder" if leads_out(Path(entry.path), folder) else None
