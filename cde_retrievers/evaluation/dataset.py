"""The data of an evaluation: a corpus, and queries whose answers in it are known."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.corpora import Corpus, ReadOptions, judged_queries
from cde_retrievers.errors import ConfigurationError, EvaluationDataError, shown
from cde_retrievers.retrieval.judgements import JudgedQueries, by_text_id, checked_grades, text_id
from cde_retrievers.util.counted import counted
from cde_retrievers.validation.signatures import is_iterable, validated
from cde_retrievers.validation.texts import checked_texts

logger = logging.getLogger(__name__)

Id = str | int
Relevant = Mapping[Id, Collection[Id] | Mapping[Id, int]]


@dataclass(frozen=True, eq=False)
class RetrievalDataset:
    """A corpus and queries whose answers in it are known.

    Attributes:
        name: of the set, for tables.
        ids: of the documents, all different.
        texts: of the documents, parallel to `ids`.
        judged: the queries and their answers.
        note: what a reader of the figures should know, such as how the queries were made.
        is_made: whether the queries were made from the corpus, not asked by real users.
        made_from: what they were made from, such as "headings and titles".

    Raises:
        EvaluationDataError: the corpus has fewer than two different texts, or ids come twice.
        InvalidTextError: a document or a query is not a text.
    """

    name: str
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    judged: JudgedQueries
    note: str = ""
    is_made: bool = False
    made_from: str = ""

    def __post_init__(self) -> None:
        if len(set(self.ids)) < len(self.ids) or len(self.ids) != len(self.texts):
            raise EvaluationDataError(
                f"{self.name}: {len(self.texts)} documents have {len(set(self.ids))} different ids; give each its own"
            )
        if len(set(checked_texts(self.texts))) < 2:
            raise EvaluationDataError(
                f"{self.name} has fewer than two different documents, which is too few to search; give a larger corpus"
            )
        for _ in checked_texts(self.judged.queries.values()):
            pass

    def check_judged(self) -> None:
        """Raise EvaluationDataError unless a query has an answer."""
        if not any(grade > 0 for grades in self.judged.relevant.values() for grade in grades.values()):
            raise EvaluationDataError(
                f"{self.name}: none of the {len(self.judged.queries)} queries has an answer, so that nothing can be "
                f"measured; mark answers first, with marking_page() or `cde-retrievers report --queries`"
            )

    @property
    def caveat(self) -> str:
        """What a sentence about figures must say of the queries, to stand at its beginning; empty for real ones."""
        made = f"on queries made from the corpus' own {self.made_from or 'texts'}, not asked by people"
        return made if self.is_made else ""

    @cached_property
    def own_rows(self) -> NDArray[np.int64]:
        """The place in the corpus of the document that a query itself is (Q,), as in ArguAna; -1 for none."""
        place = {identity: row for row, identity in enumerate(self.ids)}
        rows = [place.get(query, -1) for query in self.judged.queries]
        own = (
            row if row >= 0 and self.judged.is_itself(query, query, self.texts[row]) else -1
            for query, row in zip(self.judged.queries, rows, strict=True)
        )
        return np.fromiter(own, np.int64)

    @classmethod
    @validated
    def read(cls, folder: str | Path, split: str = "test") -> Self:
        """Read a BEIR folder: `corpus.jsonl`, `queries.jsonl` (or .gz) and `qrels/<split>.tsv`.

        Documents without text are left out, which is logged; and so are judgements of documents that are not in the
        corpus, and queries that have no others.

        Raises:
            DuplicateIdError: two documents have one id.
            CorpusFileError: a file is missing or not as it should be.
            EvaluationDataError: it has fewer than two different documents.
        """
        corpus = Corpus(folder, ReadOptions(skip_empty=True, ids_as_text=True)).check()
        documents = list(corpus)
        ids = tuple(str(document.id) for document in documents)
        texts = tuple(document.text for document in documents)
        note = f"{counted(corpus.left_out, 'document')} without text left out" if corpus.left_out else ""
        if note:
            logger.warning("%s: %s", folder, note)
        return cls(Path(folder).name, ids, texts, judged_queries(folder, set(ids), split), note)

    @classmethod
    @validated
    def of(cls, queries: Mapping[Id, str], corpus: Mapping[Id, str], relevant_docs: Relevant, name: str = "") -> Self:
        """Make a set of your own data, in the form that sentence-transformers' InformationRetrievalEvaluator takes.

        Ids that are whole numbers become text. A document that is the query itself, as in ArguAna and Quora, is left
        out of its hits: see `JudgedQueries.is_itself`.

        Args:
            queries: text by query id.
            corpus: text by document id.
            relevant_docs: by query id the ids of the documents that answer it, or their grades by id.
            name: of the set, for tables.

        Raises:
            ConfigurationError: there are no queries, one has no answers, or an id, a grade or something else is of
                another type.
            EvaluationDataError: an answer is not in the corpus, or the corpus is too small.
            InvalidTextError: a document or a query is not a text.
        """
        asked, texts, answers = (
            by_text_id(setting, found)
            for setting, found in (("queries", queries), ("corpus", corpus), ("relevant_docs", relevant_docs))
        )
        relevant = {query: _graded(query, answers.get(query), texts) for query in asked}
        return cls(name or "own data", tuple(texts), tuple(texts.values()), JudgedQueries(asked, relevant))


def _graded(query: str, answers: object, corpus: Mapping[str, str]) -> dict[str, int]:
    if answers is None or isinstance(answers, str) or not is_iterable(answers):
        found = "no answers" if answers is None else f"{shown(answers)} as answers"
        raise ConfigurationError(
            f"query {query!r} has {found}; give the ids of documents that answer it as a set, or leave the query out"
        )
    if isinstance(answers, Mapping):
        grades = checked_grades(query, answers)
    else:
        grades = {text_id(f"what answers query {query!r}", document): 1 for document in answers}
    if not grades:
        raise ConfigurationError(f"query {query!r} has no answers; leave it out")
    missing = [document for document in grades if document not in corpus]
    if missing:
        raise EvaluationDataError(
            f"query {query!r} is answered by {missing[0]!r}, which is not in the corpus; add it, or leave it out"
        )
    return grades


RetrievalSet = RetrievalDataset
"""The earlier name."""
