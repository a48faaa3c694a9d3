"""What an index records of a source, and reading a source again as it was read before."""

import codecs
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cde_retrievers
from cde_retrievers.corpora.checked_pass import FilesRead, why_unread
from cde_retrievers.corpora.corpus import Corpus
from cde_retrievers.corpora.discovery import find_source
from cde_retrievers.corpora.kept_files import KeptFiles
from cde_retrievers.corpora.read_options import ReadOptions
from cde_retrievers.corpora.token_count import CountedBy
from cde_retrievers.errors import ConfigurationError, CorpusFileError
from cde_retrievers.index.sources_file import SourceRecord
from cde_retrievers.storage.hashing import sha256_of_file

_READERS = ("mammoth", "markdown-it-py", "pyarrow", "pypdf", "selectolax")
_OWN = {"id_prefix"}  # of one source, to tell it from the others
_INSTEAD = {"chunk_tokens": "max_words", "max_words": "chunk_tokens"}  # one is given in place of the other


def recorded_source(corpus: Corpus, read: FilesRead, kept: KeptFiles | None = None) -> SourceRecord:
    """Return what an index should record of a source.

    Args:
        corpus: the source.
        read: what its files held when they were read.
        kept: what stays recorded of files that were not read.

    Raises:
        CorpusFileError: the name of a file cannot be recorded.
    """
    path = absolute(corpus.path)
    for name in (path, *read.hashes):
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            raise CorpusFileError(f"{name!r} is not valid Unicode, so the index cannot record it; rename it") from error
    kept = kept or KeptFiles()
    reading = reading_as_json(corpus.reading)
    bare = SourceRecord(path=path, reading=reading, files={}, ids=(), read_by=reading_versions())
    return bare.with_files({**kept.hashes, **read.hashes}, {**read.ids, **kept.ids})


def reading_versions() -> dict[str, str]:
    """Return the versions of this package and of the installed ones that read and split files, by name."""
    found = {"cde-retrievers": cde_retrievers.__version__}
    for package in _READERS:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def version_changes(before: SourceRecord, now: SourceRecord) -> list[str]:
    """Describe each package that had another version when a source was read before; none if that is not recorded."""
    names = sorted(before.read_by.keys() | now.read_by.keys()) if before.read_by else []
    return [
        f"{name} {before.read_by.get(name, 'not installed')} then, {now.read_by.get(name, 'not installed')} now"
        for name in names
        if before.read_by.get(name) != now.read_by.get(name)
    ]


def changed_files(record: SourceRecord) -> list[str]:
    """Return the names of the files of a source that are new, changed or gone since it was recorded.

    All of them are gone if the source cannot be found. A file that cannot be read is not known to be changed.
    """
    try:
        source = find_source(Path(record.path), _options(record.reading))
    except CorpusFileError:
        return sorted(record.files)
    hashes, unread = {}, dict(source.left_out)
    for file in source.files:
        try:
            hashes[file.name] = sha256_of_file(file.path)
        except OSError as error:
            unread[file.name] = str(error)
    return [name for name in differing_files(record.files, hashes) if why_unread(name, unread) is None]


def differing_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of files whose hashes differ, or that are only in one of the two."""
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def corpus_of(record: SourceRecord, tokens: CountedBy | None = None) -> Corpus:
    """Return the documents of a recorded source, as they are now.

    Args:
        record: what the index records.
        tokens: counts the tokens of parts, as for `Corpus`.

    Raises:
        CorpusFileError: it is not there any more.
        ConfigurationError: a later release recorded options that this one does not know.
    """
    return Corpus(record.path, _options(record.reading), tokens=tokens)


def options_like_before(path: Path, given: Mapping[str, Any], records: Sequence[SourceRecord]) -> ReadOptions:
    """Return how to read a source for an index: as it was read before, or a new one as the others were.

    Options of a new source may add to those that were given for the others, but not differ from them.

    Args:
        path: the source.
        given: the options that were given for it.
        records: what the index records.

    Raises:
        ConfigurationError: an option is given that differs from the recorded one, or the index has sources that were
            read in different ways.
    """
    asked = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    own = next((record for record in records if record.path == absolute(path)), None)
    if own is not None:
        _check_given(path, asked, own, own.reading)
        return _options({**own.reading, **asked})
    ways = [{name: value for name, value in record.reading.items() if name not in _OWN} for record in records]
    if not ways:
        return ReadOptions(**given)
    if any(way != ways[0] for way in ways):
        raise ConfigurationError(
            f"the index has sources that were read in different ways, {_shown(records, ways)}; say how to read {path}: "
            f"give its options, and --as-given"
        )
    default = reading_as_json(ReadOptions())
    binding = {name: value for name, value in ways[0].items() if value != default.get(name)}
    _check_given(path, asked, records[0], binding)
    return _options({**ways[0], **asked})


def absolute(path: Path) -> str:
    """Return the path that a source is recorded by; links in it stay, since they may lead elsewhere later."""
    return os.path.abspath(path)


def _check_given(path: Path, asked: Mapping[str, Any], record: SourceRecord, binding: Mapping[str, Any]) -> None:
    """Raise ConfigurationError, with both, if options differ from those that are binding."""
    differing: dict[str, Any] = {}
    for name, value in asked.items():
        rival = _INSTEAD.get(name, "")
        if binding.get(rival) is not None:
            differing[rival] = binding[rival]
        elif name in binding and not _is_same(name, value, binding[name], record):
            differing[name] = binding[name]
    if differing:
        before = ", ".join(f"{name}={value!r}" for name, value in differing.items())
        now = ", ".join(f"{name}={asked[name]!r}" for name in asked if {name, _INSTEAD.get(name)} & differing.keys())
        raise ConfigurationError(
            f"{record.path} was read for this index with {before}, but {now} is given for {path}; leave that out to "
            f"read it as before, or give --as-given to go by the options of this command alone"
        )


def _is_same(option: str, given: object, recorded: object, record: SourceRecord) -> bool:
    """Whether two values of an option mean the same: two names of an encoding, or the format that was found."""
    if option == "encoding":
        return _codec(given) == _codec(recorded)
    if option == "format" and recorded is None:
        return given == find_source(Path(record.path), _options(record.reading)).format
    return given == recorded


def _codec(encoding: object) -> str:
    try:
        return codecs.lookup(str(encoding)).name
    except (LookupError, ValueError):  # refused when it is to be used
        return str(encoding)


def _options(recorded: dict[str, Any]) -> ReadOptions:
    unknown = sorted(set(recorded) - {field.name for field in fields(ReadOptions)})
    if unknown:
        raise ConfigurationError(
            f"the index records options for reading that this release does not know ({', '.join(unknown)}); update "
            f"cde-retrievers"
        )
    return ReadOptions(**recorded)


def reading_as_json(reading: ReadOptions) -> dict[str, Any]:
    """Return options for reading in JSON types."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(reading).items()}


def _shown(records: Sequence[SourceRecord], ways: Sequence[dict[str, Any]]) -> str:
    differing = sorted({name for way in ways for name in way if any(way[name] != other.get(name) for other in ways)})
    parts = [
        f"{record.path} with {', '.join(f'{name}={way.get(name)!r}' for name in differing)}"
        for record, way in zip(records, ways, strict=True)
    ]
    return "; ".join(parts)
