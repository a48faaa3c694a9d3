"""A contextual encoder as mteb calls a model. Axes: n texts, W width."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from mteb.models import ModelMeta
from mteb.types import PromptType

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ContextNotFittedError
from cde_retrievers.retrieval.exact_search import exact_search
from cde_retrievers.validation.vectors import Embeddings

Row = Mapping[str, Any]


class ContextualModelForMTEB:
    """A contextual encoder as a model for mteb: `mteb.evaluate(ContextualModelForMTEB(encoder), tasks)`.

    The paper's protocol (section 5; docs/method.md): the context of a task is made of the task's own texts. For
    retrieval and reranking these are the documents of its corpus; for every other task the texts that mteb asks to
    embed first, such as the training split of a classification. Unlike the authors' script, which draws with
    replacement and without a seed, documents are chosen as `fit_context` does, so that figures can be repeated.

    Args:
        encoder: the model.
        strategy: how context documents are chosen, see `ContextualEncoder.fit_context`.
        seed: of the choice.
    """

    def __init__(self, encoder: ContextualEncoder, *, strategy: str = "random", seed: int = 0) -> None:
        self._encoder = encoder
        self._strategy = strategy
        self._seed = seed
        self._ids: list[str] = []
        self._documents: Embeddings | None = None
        self._context: CorpusContext | None = None
        self._task: tuple[str, str] | None = None

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What mteb files results under: the model's name, its fingerprint as revision, and how contexts are chosen."""
        name = "/".join(["cde-retrievers", self._encoder.name.replace("/", "__").strip("_") or "model"])
        choice = {"strategy": self._strategy, "seed": self._seed}
        revision = self._encoder.fingerprint[:40]
        return ModelMeta.create_empty({"name": name, "revision": revision, "experiment_kwargs": choice})

    def index(self, corpus: Any, *, task_metadata: Any, hf_subset: str, **_: Any) -> None:
        """Fit the context of a retrieval task on its corpus, and embed the corpus under it.

        Args:
            corpus: rows with `id`, `text` and perhaps `title`.
            task_metadata: of the task.
            hf_subset: part of the task, such as a language.
        """
        texts = [_document_text(row) for row in corpus]
        self._ids = [str(row["id"]) for row in corpus]
        self._begin(task_metadata, hf_subset, texts)
        self._documents = self._encoder.encode_documents(texts, self._fitted(), show_progress=False)

    def search(
        self, queries: Any, *, top_k: int, top_ranked: Mapping[str, Sequence[str]] | None = None, **_: Any
    ) -> dict[str, dict[str, float]]:
        """Search for every query exactly, by cosine -> score by document id, by query id.

        Args:
            queries: rows with `id`, `text` and perhaps `instruction`.
            top_k: hits per query.
            top_ranked: the documents to rerank, by query id; all if None.

        Raises:
            ContextNotFittedError: no corpus was indexed before.
        """
        if self._documents is None:
            raise ContextNotFittedError("search needs an index; call index(corpus) first")
        rows = list(queries)
        vectors = self._encoder.encode_queries([_query_text(row) for row in rows], self._fitted(), show_progress=False)
        place = {document: row for row, document in enumerate(self._ids)}
        found: dict[str, dict[str, float]] = {}
        for row, vector in zip(rows, vectors, strict=True):
            allowed = np.full(len(self._ids), top_ranked is None)
            if top_ranked is not None:
                allowed[[place[document] for document in top_ranked[row["id"]]]] = True
            scores, hits = exact_search(vector[None], [(0, self._documents, allowed)], top_k)
            found[row["id"]] = {self._ids[hit]: float(score) for hit, score in zip(hits[0], scores[0], strict=True)}
        return found

    def encode(
        self,
        inputs: Iterable[Mapping[str, Sequence[str]]],
        *,
        task_metadata: Any,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **_: Any,
    ) -> Embeddings:
        """Embed texts of a task other than search -> (n, W) float32 unit rows, under the context of its first texts.

        Args:
            inputs: batches with `text`.
            task_metadata: of the task; another task gets another context.
            hf_subset: part of the task, which has a context of its own.
            prompt_type: queries have the query prompt, everything else the document prompt.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        if self._task != (task_metadata.name, hf_subset):
            self._begin(task_metadata, hf_subset, texts)
        encode = self._encoder.encode_queries if prompt_type == PromptType.query else self._encoder.encode_documents
        return encode(texts, self._fitted(), show_progress=False)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Embeddings:
        """Return the cosines (n, m) of unit rows (n, W) and (m, W)."""
        cosines: Embeddings = np.atleast_2d(embeddings1) @ np.atleast_2d(embeddings2).T
        return cosines

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Embeddings:
        """Return the cosines (n,) of unit rows (n, W) with those in the same place."""
        cosines: Embeddings = (np.atleast_2d(embeddings1) * np.atleast_2d(embeddings2)).sum(axis=-1)
        return cosines

    def _begin(self, task_metadata: Any, hf_subset: str, texts: list[str]) -> None:
        self._context = self._encoder.fit_context(texts, strategy=self._strategy, seed=self._seed, show_progress=False)
        self._task = (task_metadata.name, hf_subset)

    def _fitted(self) -> CorpusContext:
        if self._context is None:
            raise ContextNotFittedError("no task has started; call index(corpus) or encode(inputs) first")
        return self._context


def _document_text(row: Row) -> str:
    """Return title and text as one, as mteb joins them."""
    return f"{row.get('title') or ''} {row['text']}".strip()


def _query_text(row: Row) -> str:
    """Return the query, followed by its instruction if it has one, as mteb joins them."""
    return f"{row['text']} {row.get('instruction') or ''}".strip()
