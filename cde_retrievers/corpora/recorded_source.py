"""What an index records of a source, and reading a source again as it was read before."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from cde_retrievers.corpora.corpus import Corpus
from cde_retrievers.corpora.discovery import find_source
from cde_retrievers.corpora.read_options import ReadOptions
from cde_retrievers.corpora.token_count import CountedBy
from cde_retrievers.errors import ConfigurationError, CorpusFileError
from cde_retrievers.index.sources_file import SourceRecord
from cde_retrievers.storage.hashing import sha256_of_file

_OWN = {"id_prefix"}  # of one source, to tell it from the others


def recorded_source(corpus: Corpus) -> SourceRecord:
    """Read a source, and return what an index should record of it.

    Raises:
        CorpusFileError, InvalidTextError, InvalidDocumentError: as `Corpus`.
    """
    files = file_hashes(corpus)  # first: a file that changes meanwhile differs from what is recorded
    path = absolute(corpus.path)
    try:
        for name in (path, *files):
            name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CorpusFileError(f"{name!r} is not valid Unicode, so the index cannot record it; rename it") from error
    return SourceRecord(
        path=path,
        reading=reading_as_json(corpus.reading),
        files=files,
        ids=tuple(str(document.id) for document in corpus),
    )


def file_hashes(corpus: Corpus) -> dict[str, str]:
    """Return the SHA-256 of each file of a source by its name, but for those that `skip_errors` leaves out.

    Raises:
        CorpusFileError: a file cannot be read.
    """
    hashes = {}
    for file in find_source(corpus.path, corpus.reading).files:
        try:
            hashes[file.name] = sha256_of_file(file.path)
        except OSError as error:
            if corpus.reading.skip_errors:
                continue
            raise CorpusFileError(
                f"{file.path} cannot be read: {error.strerror}; change its permissions, or remove it"
            ) from error
    return hashes


def changed_files(record: SourceRecord) -> list[str]:
    """Return the names of the files of a source that are new, changed or gone since it was recorded.

    All of them are gone if the source cannot be found.
    """
    try:
        now = file_hashes(corpus_of(record))
    except CorpusFileError:
        now = {}
    return differing_files(record.files, now)


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


def options_like_before(path: Path, given: ReadOptions, records: Sequence[SourceRecord]) -> ReadOptions:
    """Return how to read a source for an index: as it was read before, or a new one as the others were.

    Options of a new source may add to those that were given for the others, but not differ from them.

    Args:
        path: the source.
        given: options that were given for it; one at its default counts as left out.
        records: what the index records.

    Raises:
        ConfigurationError: an option is given that differs from the recorded one, or the index has sources that were
            read in different ways.
    """
    own = next((record for record in records if record.path == absolute(path)), None)
    if own is not None:
        return _merged(path, given, own, own.reading, own.reading)
    ways = [{name: value for name, value in record.reading.items() if name not in _OWN} for record in records]
    if not ways:
        return given
    if any(way != ways[0] for way in ways):
        raise ConfigurationError(
            f"the index has sources that were read in different ways, {_shown(records, ways)}; say how to read {path}: "
            f"give its options, and --as-given"
        )
    default = reading_as_json(ReadOptions())
    chosen = {name: value for name, value in ways[0].items() if value != default.get(name)}
    return _merged(path, given, records[0], ways[0], chosen)


def absolute(path: Path) -> str:
    """Return the path that a source is recorded by; links in it stay, since they may lead elsewhere later."""
    return os.path.abspath(path)


def _merged(
    path: Path, given: ReadOptions, record: SourceRecord, recorded: dict[str, Any], binding: dict[str, Any]
) -> ReadOptions:
    """Return the recorded options with the given ones, which must not differ from those that are binding."""
    default = reading_as_json(ReadOptions())
    asked = {name: value for name, value in reading_as_json(given).items() if value != default[name]}
    differing = [name for name, value in asked.items() if name in binding and value != binding[name]]
    if differing:
        before = ", ".join(f"{name}={recorded[name]!r}" for name in differing)
        now = ", ".join(f"{name}={asked[name]!r}" for name in differing)
        raise ConfigurationError(
            f"{record.path} was read for this index with {before}, but {now} is given for {path}; leave that out to "
            f"read it as before, or give --as-given to go by the options of this command alone"
        )
    return _options({**recorded, **asked})


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
