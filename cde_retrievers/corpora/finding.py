"""Which files a source consists of, and of which format they are."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from cde_retrievers.corpora.paths import is_file, is_folder, refuse_link_out
from cde_retrievers.corpora.reading import Format, Reading
from cde_retrievers.corpora.record import File
from cde_retrievers.corpora.walking import walk
from cde_retrievers.errors import ConfigurationError, CorpusFileError

logger = logging.getLogger(__name__)

ENDINGS: Mapping[Format, tuple[str, ...]] = {
    "text": (".txt", ".text", ".md", ".markdown", ".rst"),
    "jsonl": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"),
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
    "parquet": (".parquet",),
}
BEIR_CORPUS = ("corpus.jsonl", "corpus.jsonl.gz")
BEIR_QUERIES = ("queries.jsonl", "queries.jsonl.gz")


@dataclass(frozen=True, slots=True)
class Source:
    """The files to read, in the order of their names.

    Attributes:
        format: of all of them.
        files: at least one.
    """

    format: Format
    files: tuple[File, ...]


def find_source(path: Path, reading: Reading) -> Source:
    """The files at `path`, a file or a folder; hidden ones, those of other formats and links out of it are left out.

    Raises:
        CorpusFileError: there is nothing to read, it is no file, or it is not clear of which format it is.
        ConfigurationError: endings are given where no files are chosen by them.
    """
    is_single = is_file(path)
    if reading.endings and (is_single or reading.format == "beir"):
        raise ConfigurationError(
            f"endings= (--ending) chooses files in a folder, but {path} is a file, or to be read as BEIR; leave it out"
        )
    if is_single:
        return Source(reading.format or _format_of_file(path), (File(path, path.name),))
    if not is_folder(path):
        raise CorpusFileError(f"{path} does not exist; give a file or a folder of documents")
    if reading.format == "beir" or (reading.format is None and not reading.endings and is_beir(path)):
        return Source("beir", (_require_beir_corpus(path, reading.follow_links),))
    files = _files_in(path, reading.follow_links)
    chosen = reading.format or ("text" if reading.endings else _format_of_folder(path, files))
    endings = reading.endings or ENDINGS[chosen]
    kept = tuple(file for file in files if file.path.name.lower().endswith(endings))
    if not kept:
        raise CorpusFileError(
            f"{path} has no files that end in {', '.join(endings)}{_seen(files)}; give another folder, or name the "
            f"endings with endings= (--ending)"
        )
    if len(kept) < len(files):
        left_out = set(files).difference(kept)
        logger.warning("%s: %d files of other formats are left out%s", path, len(left_out), _seen(left_out))
    return Source(chosen, kept)


def _format_of_file(path: Path) -> Format:
    if path.name in BEIR_CORPUS and is_beir(path.parent):
        return "beir"
    for candidate, endings in ENDINGS.items():
        if path.name.lower().endswith(endings):
            return candidate
    raise CorpusFileError(
        f"{path}: its ending says nothing about its format; name one of {[*ENDINGS]} with format= (--format)"
    )


def _format_of_folder(path: Path, files: list[File]) -> Format:
    present = [
        candidate
        for candidate, endings in ENDINGS.items()
        if any(file.path.name.lower().endswith(endings) for file in files)
    ]
    if len(present) > 1:
        raise CorpusFileError(
            f"{path} holds files of several formats{_seen(files)}; say which to read with format= (--format), one of "
            f"{present}"
        )
    return present[0] if present else "text"


def _files_in(folder: Path, follow_links: bool) -> list[File]:
    """Every file below the folder, but for hidden ones, by name; what is left out besides is logged."""
    found = walk(folder, follow_links)
    if found.left_out:
        logger.warning(
            "%s: %d entries are left out (%s); links are followed with follow_links=True (--follow-links)",
            folder, len(found.left_out), found,
        )  # fmt: skip
    return [File(folder / name, name) for name in found.files]


def is_beir(folder: Path) -> bool:
    """Whether the folder holds a corpus and queries; a corpus alone may be anybody's."""
    return _beir_corpus(folder) is not None and any(is_file(folder / name) for name in BEIR_QUERIES)


def _beir_corpus(folder: Path) -> File | None:
    for name in BEIR_CORPUS:
        if is_file(folder / name):
            return File(folder / name, name)
    return None


def _require_beir_corpus(folder: Path, follow_links: bool) -> File:
    found = _beir_corpus(folder)
    if found is None:
        raise CorpusFileError(f"{folder} is no BEIR folder: there is no {' or '.join(BEIR_CORPUS)} in it")
    if not follow_links:
        refuse_link_out(found.path, folder)
    return found


def _seen(files: Collection[File]) -> str:
    """Which endings there are, the most common first."""
    if not files:
        return " (it is empty)"
    counts = Counter(file.path.suffix.lower() or "no ending" for file in files)
    return " (" + ", ".join(f"{ending}: {count}" for ending, count in counts.most_common(5)) + ")"
