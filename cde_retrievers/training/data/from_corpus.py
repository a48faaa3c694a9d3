"""Pairs made from documents alone, for a corpus without queries."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, get_args

import numpy as np

from cde_retrievers.corpora.pseudo_queries import Kind, Outline, PseudoQuery, outline, pseudo_queries
from cde_retrievers.errors import ConfigurationError, InvalidDocumentError, InvalidTextError, TrainingDataError
from cde_retrievers.retrieval.document import Document, checked_document
from cde_retrievers.training.data.pairs import Pair, TrainingPairs, domain_name
from cde_retrievers.util.counted import counted
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import is_iterable

KINDS: tuple[Kind, ...] = get_args(Kind)
_MEANING: Mapping[Kind, str] = {
    "title": "title to body",
    "heading": "heading to section",
    "sentence": "first sentence to the rest",
}
_NOTHING_NEW = "nothing that a document before it does not give"
_SHOWN_OF_A_KIND = 2
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class CorpusPairs:
    """Pairs made from documents, and statistics of them.

    Attributes:
        pairs: to train on.
        kinds: "title", "heading" or "sentence" for each pair.
        documents: the number of documents.
        without: the number of documents without a pair, by reason.
        general: headings of several documents, in lower case, which are not used.
    """

    pairs: TrainingPairs = field(repr=False)
    kinds: tuple[Kind, ...] = field(repr=False)
    documents: int
    without: Mapping[str, int]
    general: tuple[str, ...]

    @property
    def made(self) -> dict[Kind, int]:
        """The number of pairs of each kind."""
        return {kind: self.kinds.count(kind) for kind in KINDS}

    @property
    def sample(self) -> list[tuple[Kind, Pair]]:
        """A few pairs of each kind, to look at before training."""
        shown: list[tuple[Kind, Pair]] = []
        for kind in KINDS:
            rows = [row for row, found in enumerate(self.kinds) if found == kind]
            places = np.linspace(0, len(rows), _SHOWN_OF_A_KIND, endpoint=False, dtype=int) if rows else ()
            shown += [(kind, self.pairs[row]) for row in dict.fromkeys(rows[place] for place in places)]
        return shown

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pairs themselves, as JSON values."""
        sample = [{"kind": kind, "query": pair.query, "positive": pair.positive} for kind, pair in self.sample]
        return {
            "pairs": len(self.pairs), "made": self.made, "documents": self.documents, "without": dict(self.without),
            "general": list(self.general), "sample": sample,
        }  # fmt: skip

    def __str__(self) -> str:
        made = ", ".join(f"{count:,} {_MEANING[kind]}" for kind, count in self.made.items() if count)
        none = sum(self.without.values())
        documents = f"{self.documents - none:,} of {counted(self.documents, 'document')}"
        lines = [f"{counted(len(self.pairs), 'pair')} from {documents}: {made}"]
        lines += [f"  none from {count:,}: {reason}" for reason, count in self.without.items()]
        if self.general:
            lines.append(f"  headings of several documents, not asked: {_short(', '.join(self.general))}")
        lines.append("sample:")
        for kind, pair in self.sample:
            lines += [
                f"  {_MEANING[kind]}",
                f"    query:    {_short(pair.query)}",
                f"    document: {_short(pair.positive)}",
            ]
        return "\n".join(lines)


def pairs_from_corpus(
    documents: Iterable[str | Document], *, domain: str = "", kinds: Collection[Kind] = KINDS, min_words: int = 8
) -> CorpusPairs:
    """Make pairs of documents: title to body, heading to section, or else first sentence to the rest.

    A title is the metadata's `title`, or the heading that a Markdown text of several begins with; so read BEIR folders
    with `ReadOptions(text=("text",))`, which keeps the title out of the text. Headings that several documents have,
    such as "Introduction", ask for none of them and are not used. The query is removed from the start of its
    positive, or else the model would only learn to compare strings.

    Args:
        documents: texts, `Document`s, or a `Corpus`.
        domain: of the pairs; a document whose metadata names one has "<domain>/<metadata.domain>".
        kinds: which pairs to make, of "title", "heading" and "sentence".
        min_words: of a positive, at least.

    Raises:
        TrainingDataError: no pair could be made, with the reasons; or something is not a document, or not a collection.
        ConfigurationError: a kind is unknown, or there is none, or `min_words` is not above 0.
    """
    _check_choices(kinds, min_words)
    read = _checked(documents)
    outlines = [outline(document) for document in read]
    general = _general_headings(read, outlines) if "heading" in kinds else ()
    not_asked = frozenset(general)
    made = [
        pseudo_queries(document, parts, not_asked, kinds, min_words)
        for document, parts in zip(read, outlines, strict=True)
    ]
    found, without = _gathered(read, made, domain)
    if not found:
        reasons = ", ".join(f"{count:,}: {reason}" for reason, count in without.items()) or "there are none"
        raise TrainingDataError(
            f"no pair could be made of {counted(len(read), 'document')} ({reasons}); give documents with titles, "
            f"headings or several sentences, or your own pairs"
        )
    pairs_kinds, pairs = zip(*found, strict=True)
    return CorpusPairs(TrainingPairs.of(pairs), pairs_kinds, len(read), without, general)


def _gathered(
    documents: Sequence[Document], made: Sequence[list[PseudoQuery] | str], domain: str
) -> tuple[list[tuple[Kind, Pair]], dict[str, int]]:
    """Distinct pairs, and the number of documents without one, the most common reason first."""
    found: dict[tuple[str, str], tuple[Kind, Pair]] = {}
    without: Counter[str] = Counter()
    for position, (document, offered) in enumerate(zip(documents, made, strict=True)):
        if isinstance(offered, str):
            without[offered] += 1
            continue
        called = domain_name(domain, document.metadata, f"document {position}")
        new = {(offer.query, offer.positive): offer.kind for offer in offered}
        if new.keys() <= found.keys():
            without[_NOTHING_NEW] += 1
        for texts, kind in new.items():
            found.setdefault(texts, (kind, Pair(*texts, (), called)))
    return list(found.values()), dict(without.most_common())


def _general_headings(documents: Sequence[Document], outlines: Sequence[Outline]) -> tuple[str, ...]:
    """Headings of more than one document; the parts of a split document count as one."""
    wholes = {
        (_whole(document, place), heading)
        for place, (document, parts) in enumerate(zip(documents, outlines, strict=True))
        for heading in parts.headings
    }
    counts = Counter(heading for _, heading in wholes)
    return tuple(sorted(heading for heading, count in counts.items() if count > 1))


def _whole(document: Document, place: int) -> str:
    """An id of the document that a part comes from, or else of the document itself."""
    return str(document.metadata.get("part_of", f"#{place}"))


def _checked(documents: Iterable[str | Document]) -> list[Document]:
    if isinstance(documents, str | bytes | Mapping) or not is_iterable(documents):
        raise TrainingDataError(
            f"documents must be a collection of documents, found {type(documents).__name__}; give a Corpus or a list"
        )
    try:
        return [checked_document(document, position) for position, document in enumerate(documents)]
    except (InvalidDocumentError, InvalidTextError) as error:
        raise TrainingDataError(str(error)) from error


def _check_choices(kinds: Collection[Kind], min_words: int) -> None:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds or isinstance(kinds, str):
        raise ConfigurationError(f"kinds must be some of {KINDS}, found {kinds!r}; name at least one")
    check_whole("min_words", min_words, 1)


def _short(text: str) -> str:
    return shorten(text, _SHOWN_CHARACTERS, placeholder=" ...")
