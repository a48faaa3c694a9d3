"""Queries for a corpus without queries: the title or first sentence of a document asks for the rest of it.

People ask otherwise: such queries share more words with their document. They show only whether documents of one corpus
can be told apart.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from cde_retrievers.corpora.pseudo_queries import Kind, PseudoQuery, outline, pseudo_queries
from cde_retrievers.errors import EvaluationDataError
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.index.incoming_documents import require_collection
from cde_retrievers.retrieval.document import Document, checked_document
from cde_retrievers.retrieval.judgements import JudgedQueries
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated

_KINDS: tuple[Kind, ...] = ("title", "sentence")
_MIN_WORDS = 8


@validated
def known_items(
    documents: Iterable[str | Document], *, name: str = "known items", max_queries: int = 1_000, seed: int = 0
) -> RetrievalDataset:
    """Make a retrieval set of documents alone: title, or else first sentence, against the rest.

    What asks is taken out of its document. Documents that have neither, or too little behind it, are searched whole.
    Queries that two documents would answer are left out.

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
    made = {str(document.id): offer for document in read if (offer := _first_offer(document))}
    asked = Counter(offer.query for offer in made.values())
    clear = [document for document, offer in made.items() if asked[offer.query] == 1]
    if not clear:
        raise EvaluationDataError(
            f"no query could be made of {len(read):,} documents: none has a title or a first sentence with "
            f"{_MIN_WORDS} words after it; give judged queries"
        )
    drawn = np.random.default_rng(seed).permutation(len(clear))[:max_queries]
    chosen = [clear[place] for place in sorted(drawn.tolist())]
    judged = JudgedQueries({key: made[key].query for key in chosen}, {key: {key: 1} for key in chosen})
    kinds = [made[key].kind for key in chosen]
    note = (
        f"made from the corpus: {kinds.count('title'):,} titles and {kinds.count('sentence'):,} first sentences, each "
        f"asking for the rest of its document. People's questions can behave otherwise."
    )
    texts = tuple(made[str(d.id)].positive if str(d.id) in made else d.text for d in read)
    return RetrievalDataset(name, tuple(str(document.id) for document in read), texts, judged, note, is_made=True)


def _first_offer(document: Document) -> PseudoQuery | None:
    offered = pseudo_queries(document, outline(document), frozenset(), _KINDS, _MIN_WORDS)
    return None if isinstance(offered, str) else offered[0]


def _with_id(document: Document, place: int) -> Document:
    return document if document.id is not None else replace(document, id=f"document {place}")
