"""Queries for a corpus without queries: what its own titles, headings and questions ask for.

People ask otherwise: such queries share more words with their document. They show only whether documents of one corpus
can be told apart.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cde_retrievers.corpora.pseudo_queries import plain
from cde_retrievers.errors import EvaluationDataError
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.near_copies import near_copies
from cde_retrievers.evaluation.own_words import MIN_WORDS, Kind, question, runs, sentence, titled, without
from cde_retrievers.index.incoming_documents import require_collection
from cde_retrievers.retrieval.document import Document, checked_document
from cde_retrievers.retrieval.judgements import JudgedQueries
from cde_retrievers.util.counted import counted
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated

_FEW = 30  # queries: with fewer, first sentences ask as well
_NAMES: dict[Kind, str] = {
    "heading": "heading",
    "question": "question",
    "title": "title",
    "sentence": "first sentence",
}


@dataclass(frozen=True, slots=True)
class _Query:
    """A query, and the places of the documents that answer it."""

    kind: Kind
    text: str
    answers: tuple[int, ...]


@validated
def known_items(
    documents: Iterable[str | Document], *, name: str = "known items", max_queries: int = 1_000, seed: int = 0
) -> RetrievalDataset:
    """Make a retrieval set of documents alone: headings with the titles above them, titles, and questions in the text.

    What asks is taken out of its document. All parts of a section answer its heading, and near-copies of an answer are
    answers too (`near_copies`). Neighbours from one file that have one title in their metadata all answer that.
    Documents without running text are not asked for, nor what documents that say different things would answer, nor
    what all would. Where fewer than 30 queries are found, first sentences of documents without any ask as well.

    Args:
        documents: texts, `Document`s, or a `Corpus`; of BEIR folders with `ReadOptions(text=("text",))`, which keeps
            the title out of the text.
        name: of the set.
        max_queries: at most; which ones is drawn at random.
        seed: of the draw.

    Raises:
        ConfigurationError: `max_queries` is not positive, or `seed` is negative.
        EvaluationDataError: no query could be made, or there are fewer than two different documents.
        InvalidDocumentError: a document is neither a text nor a `Document`.
        InvalidTextError: a text is invalid.
    """
    require_collection(documents)
    check_whole("seed", seed, 0)
    check_whole("max_queries", max_queries, 1)
    read = [_with_id(checked_document(document, place), place) for place, document in enumerate(documents)]
    ids = tuple(str(document.id) for document in read)
    texts = [document.text for document in read]
    clear = list(_clear(_asked(read, texts), texts))
    if not clear:
        raise EvaluationDataError(
            f"no query could be made of {counted(len(read), 'document')}: none has a heading, a title, a question or a "
            f"first sentence with {MIN_WORDS} words of running text after it; give judged queries"
        )
    drawn = np.random.default_rng(seed).permutation(len(clear))[:max_queries]
    chosen = [clear[place] for place in sorted(drawn.tolist())]
    judged = _judged(chosen, ids, _copies(chosen, ([document.text for document in read], texts)))
    counts = {kind: count for kind in _NAMES if (count := sum(query.kind == kind for query in chosen))}
    where = {"question": " in the text"}
    made_from = _listed([f"{_NAMES[kind]}s{where.get(kind, '')}" for kind in counts])
    made = _listed([f"{counted(count, _NAMES[kind])}{where.get(kind, '')}" for kind, count in counts.items()])
    note = f"made from the corpus: {made}, each asking for the rest of its document."
    return RetrievalDataset(name, ids, tuple(texts), judged, note, is_made=True, made_from=made_from)


def _asked(documents: Sequence[Document], texts: list[str]) -> list[_Query]:
    """Return all queries, and take them out of the texts that answer them."""
    names = [titled(document) for document in documents]
    found = []
    for places in runs(names):
        first = names[places[0]]
        answers = tuple(place for place in places if (name := names[place]) is not None and name.has_enough)
        if first is None or not 0 < len(answers) < len(texts):
            continue
        for place in places:
            texts[place] = getattr(names[place], "rest", "") or texts[place]
        found.append(_Query(first.kind, first.query, answers))
    found += _spoken("question", range(len(texts)), texts)
    if len(found) < _FEW:
        asked = {place for query in found for place in query.answers}
        found += _spoken("sentence", (place for place in range(len(texts)) if place not in asked), texts)
    return found


def _spoken(kind: Kind, places: Iterable[int], texts: list[str]) -> Iterator[_Query]:
    """Yield the question or the first sentence of each text, and take it out."""
    find = question if kind == "question" else sentence
    for place in places:
        query = find(texts[place])
        rest = None if query is None else without(texts[place], query)
        if query is not None and rest:
            texts[place] = rest
            yield _Query(kind, query, (place,))


def _clear(queries: Sequence[_Query], texts: Sequence[str]) -> Iterator[_Query]:
    """Yield each query once; one that documents ask which say different things is left out."""
    groups: dict[str, list[_Query]] = {}
    for query in queries:
        groups.setdefault(plain(query.text), []).append(query)
    for same in groups.values():
        said = {" ".join(plain(texts[place]) for place in query.answers) for query in same}
        if len(said) == 1:
            answers = tuple(dict.fromkeys(place for query in same for place in query.answers))
            yield replace(same[0], answers=answers)


def _copies(queries: Sequence[_Query], versions: Iterable[Sequence[str]]) -> dict[int, list[int]]:
    """Return the near-copies of all answers: as the documents are, and without what asks."""
    answers = {place for query in queries for place in query.answers}
    found = [near_copies(texts, answers) for texts in versions]
    return {place: [copy for copies in found for copy in copies[place]] for place in answers}


def _judged(queries: Sequence[_Query], ids: Sequence[str], copies: Mapping[int, Sequence[int]]) -> JudgedQueries:
    """Return the queries under the ids of their first answers, which their near-copies answer too."""
    asked: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    for query in queries:
        known = ids[query.answers[0]]
        key = known if known not in asked else f"{known}, {query.kind}"
        answers = [other for place in query.answers for other in (place, *copies[place])]
        asked[key], relevant[key] = query.text, {ids[place]: 1 for place in answers}
    return JudgedQueries(asked, relevant)


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _with_id(document: Document, place: int) -> Document:
    return document if document.id is not None else replace(document, id=f"document {place}")
