"""Reading SOURCE: as its options say, or as an index records that its sources were read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from cde_retrievers.cli.options.reading import ReadingOptions
from cde_retrievers.cli.session import Session
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.util.counted import counted

if TYPE_CHECKING:
    from cde_retrievers.corpora import CheckedCorpus, Corpus, ReadOptions
    from cde_retrievers.encoder.encoder import ContextualEncoder
    from cde_retrievers.index.sources_file import SourceRecord


def read_once(
    reading: ReadingOptions,
    run: Session,
    records: "Sequence[SourceRecord]" = (),
    *,
    as_given: bool = False,
    encoder: "Callable[[], ContextualEncoder] | None" = None,
) -> "CheckedCorpus":
    """Read the documents of the source and check them all.

    Args:
        reading: the source.
        run: where to say what was found.
        records: sources of an index; this one is read as they were.
        as_given: read it by its own options alone.
        encoder: loads the model, whose tokens are counted where documents are split.

    Raises:
        As `opened_source` and `Corpus.check`.
    """
    corpus = opened_source(reading, run, records, as_given=as_given, encoder=encoder)
    documents = corpus.check()
    say_what_was_read(run, corpus, len(documents), documents.left_out)
    if documents.repeated:
        run.say(
            f"{corpus.path}: the text of an earlier document comes again in {documents.repeated:,} of "
            f"{counted(len(documents), 'document')}, and all are found; leave copies out unless they are meant"
        )
    return documents


def opened_source(
    reading: ReadingOptions,
    run: Session | None,
    records: "Sequence[SourceRecord]" = (),
    *,
    as_given: bool = False,
    encoder: "Callable[[], ContextualEncoder] | None" = None,
) -> "Corpus":
    """Return the documents of the source, not read yet; arguments as in `read_once`.

    Without a `run` nothing is said, as to see what is wrong with the source before a model is loaded.

    Raises:
        ConfigurationError: options differ from those that the index records; or, with `as_given`, nothing says whether
            to split a source although those of the index are split.
        As `Corpus`.
    """
    from cde_retrievers.corpora import Corpus
    from cde_retrievers.corpora.recorded_source import options_like_before

    given = reading.given()
    options = options_like_before(reading.source, given, () if as_given else records)
    if as_given:
        _compare(reading, options, records, run)
    try:
        # Before a model is loaded: what is wrong with the source is soon said.
        corpus = Corpus(reading.source, options)
    except ConfigurationError as error:
        if all(each.name in given or getattr(options, each.name) == each.default for each in fields(options)):
            raise
        raise ConfigurationError(
            f"{error}; some options come from how the sources of the index were read, and --as-given goes by the "
            f"options of this command alone"
        ) from error
    if encoder is None:
        return corpus
    tokens = encoder()  # also where it counts none: that a model cannot be loaded is said before documents are read
    return Corpus(reading.source, options, tokens=tokens) if options.counts_tokens else corpus


def _compare(
    reading: ReadingOptions, options: "ReadOptions", records: "Sequence[SourceRecord]", run: Session | None
) -> None:
    """Say how the options of a source differ from those that an index records.

    Raises:
        ConfigurationError: nothing says whether to split it, although the index holds parts.
    """
    for path, now, before in _differences(reading, options, records):
        if "split" in before and reading.split is None:
            raise ConfigurationError(
                f"{path} was read for this index with {_shown(before)}, and --as-given without --split leaves "
                f"the documents of {reading.source} whole; give --split {before['split']} to split them too, or "
                f"--split none for whole documents"
            )
        if run is not None:
            then = f"{path} was read for this index with {_shown(before)}"
            run.say(f"{reading.source} is read with {_shown(now)}; {then}")


def _differences(
    reading: ReadingOptions, options: "ReadOptions", records: "Sequence[SourceRecord]"
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the path of each source that was read with other options, and the options that differ: now and then."""
    from cde_retrievers.corpora.recorded_source import absolute, reading_as_json

    now, path = reading_as_json(options), absolute(reading.source)
    for record in [each for each in records if each.path == path] or records:
        differing = [
            name
            for name, value in now.items()
            if name in record.reading and record.reading[name] != value and (name != "id_prefix" or record.path == path)
        ]
        if differing:
            yield record.path, {n: now[n] for n in differing}, {n: record.reading[n] for n in differing}


def _shown(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


def say_what_was_read(run: Session, corpus: "Corpus", documents: int, left_out: int) -> None:
    """Say how many documents a source has, and what of it is left out."""
    files = counted(corpus.files, "file")
    run.say(f"{corpus.path}: {counted(documents, 'document')} in {files} ({corpus.format})")
    for reason in corpus.unreadable.values():
        run.say(f"left out: {reason}")
    if corpus.unreadable:
        run.warn(f"{corpus.path}: {len(corpus.unreadable):,} of {files} cannot be read and are left out")
    if left_out:
        run.say(f"{corpus.path}: {counted(left_out, 'document')} without text left out")
