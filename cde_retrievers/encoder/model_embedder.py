"""An embedder that runs a model of two stages in this process: tokenizer, device and batching behind one interface."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Self

import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from cde_retrievers.context.context import CorpusContext, checked_context
from cde_retrievers.context.fitting import context_of_no_corpus, fit_context_of
from cde_retrievers.context.generic import generic_texts
from cde_retrievers.encoder.backends.arithmetic import resolve_arithmetic
from cde_retrievers.encoder.backends.exports import first_stage_fingerprint
from cde_retrievers.encoder.backends.stage import ExportedStage, over_exported_stage
from cde_retrievers.encoder.batching import BatchRunner, Forward, unit_rows_under
from cde_retrievers.encoder.closed_form import ClosedForm, closed_form_over
from cde_retrievers.encoder.context_cache import PreparedContextCache, by_second_stage
from cde_retrievers.encoder.forked import prepare_torch
from cde_retrievers.encoder.tokenizer import TextTokenizer, check_tokenizer
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.sparse.bm25 import document_rows, query_rows
from cde_retrievers.storage.hashing import sha256_of_json
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings


class ModelEmbedder:
    """An `Embedder` that runs a model in this process; `ContextualEncoder` adds the model's files.

    Arguments, attributes and errors are described there.
    """

    def __init__(
        self,
        model: ContextualModel,
        tokenizer: object,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        name: str = "custom",
        exported: ExportedStage | None = None,
    ) -> None:
        self.name = name
        prepare_torch()
        self._exported = exported
        record = None if exported is None else exported.record
        arithmetic = resolve_arithmetic(device, dtype, *(("torch", "auto") if record is None else record.arithmetic))
        self.backend, self.precision = arithmetic.backend, arithmetic.precision
        self.device, self.dtype = arithmetic.device, arithmetic.dtype
        self.config = model.config
        self.width = model.width
        self.tokenizer = TextTokenizer.of(tokenizer, self.config)
        check_tokenizer(self.tokenizer, self.config)
        # Before the cast: a context must fit the same model in any number format but int8.
        self._own_vectors = [] if record is None else record.own_vectors()
        self.fingerprint = sha256_of_json([model.fingerprint(), self.tokenizer.fingerprint(), *self._own_vectors])
        # The original weights, so that `save` loses nothing when the arithmetic runs in fewer bits.
        self._saved_model = model
        lossy = self.dtype != next(model.parameters()).dtype
        self.model = (deepcopy(model) if lossy else model).to(self.device, self.dtype).eval()
        self._first_stage = self.model.first_stage if exported is None else exported
        self._second_stage = self.model.second_stage if exported is None else over_exported_stage(model, exported)
        tokens_per_thread = None if exported is None else exported.tokens_per_thread
        self._runner = BatchRunner(self.tokenizer, self.device, tokens_per_thread)
        self._prepared = PreparedContextCache(by_second_stage(self._second_stage, self.device))

    def check_context(self, context: CorpusContext) -> None:
        """Raise ContextMismatchError unless this model fitted the context."""
        context.check_model(self.fingerprint, self.name)

    @validated
    def fit_context(
        self,
        texts: Iterable[str],
        size: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        show_progress: bool | None = None,
        language: str | None = "english",
    ) -> CorpusContext:
        """Choose documents that represent the corpus and make its context from them.

        Args:
            texts: the corpus, exactly as it will be embedded; any iterable, read once, in bounded memory.
            size: number of context documents; the model's default if None.
            strategy: "random", "kmeans" (one document per cluster, large clusters first) or "diverse" (each as
                far as possible from those before it). The latter two embed eight candidates per document.
            seed: same corpus and seed, same context.
            show_progress: None shows a bar for long work only.
            language: language of stems and stop words in sparse vectors, by its English name; None for words as they
                are, which suits any language.

        Raises:
            InvalidTextError: the corpus is not a collection of texts.
            ContextTooSmallError: it has fewer than two distinct texts, or all look the same to the model.
            ConfigurationError: size, strategy, seed or language is impossible.
        """
        size = self.config.checked_context_size(size)
        return fit_context_of(self, texts, size, strategy, seed, show_progress, language=language)

    @validated
    def generic_context(self, show_progress: bool | None = None) -> CorpusContext:
        """Fit a context on 512 texts that ship with the package: the same for the same model, while no corpus is known.

        Fitting on the corpus is better (Morris & Rush, arXiv 2410.02525, table 2).

        Raises ContextTooSmallError if all of them look the same to the model.
        """
        size = self.config.context_size
        return fit_context_of(self, generic_texts(), size, "random", 0, show_progress, recorded_as="generic")

    def null_context(self) -> CorpusContext:
        """Return the empty context: the null vector of sequence dropout (paper, section 4.2) in every place.

        Raises ConfigurationError if the model has no null vector; the released ones have none.
        """
        vectors = self._second_stage.null_vectors(self.config.context_size)
        return context_of_no_corpus(vectors, self.name, self.fingerprint)

    @validated
    def encode_documents(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Embed documents under a context -> (n, width) float32 unit rows in the order given.

        Raises:
            InvalidTextError: `texts` is not a collection of texts.
            ContextMismatchError: the context was fitted by another model.
        """
        return self._encode(texts, self.config.document_prompt, context, show_progress)

    @validated
    def encode_queries(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Embed queries under the context of their corpus; otherwise as `encode_documents`."""
        return self._encode(texts, self.config.query_prompt, context, show_progress)

    @validated
    def encode_documents_sparse(self, texts: Iterable[str], context: CorpusContext) -> csr_matrix:
        """Return sparse vectors of documents (n, terms) float32, whose product with those of queries is BM25.

        Statistics, and so the scores, are the context's; the model is not run. Errors as in `encode_documents`, and
        ContextMismatchError if the context carries no term statistics.
        """
        self.check_context(checked_context(context))
        return document_rows(checked_texts(texts), context.term_statistics())

    @validated
    def encode_queries_sparse(self, texts: Iterable[str], context: CorpusContext) -> csr_matrix:
        """Return sparse vectors of queries under the context of their corpus; otherwise as documents."""
        self.check_context(checked_context(context))
        return query_rows(checked_texts(texts), context.term_statistics())

    @validated
    def first_stage_vectors(self, texts: Iterable[str], show_progress: bool | None = None) -> Embeddings:
        """Return context vectors of documents, (n, width) float32, not normalised."""
        return self._run(texts, self.config.document_prompt, self._first_stage, show_progress)

    @validated
    def biencoder_vectors(self, texts: Iterable[str], prompt: str, show_progress: bool | None = None) -> Embeddings:
        """Return plain vectors of texts after a prompt, (n, width) float32, not normalised.

        They are the first stage's without its projection, which serves the second stage rather than comparison. Before
        training they are those of the bi-encoder that the model was made from.
        """
        return self._run(texts, prompt, self._first_stage.pooled, show_progress)

    @property
    def closed_form(self) -> ClosedForm | None:
        """The closed form over plain vectors, or None if a context acts by more."""
        return closed_form_over(self, self.first_stage_fingerprint)

    def first_stage_fingerprint(self) -> str:
        """Return the SHA-256 over all that first-stage vectors depend on; number formats but int8 count as one."""
        plain = first_stage_fingerprint(self._saved_model, self.tokenizer)
        return sha256_of_json([plain, *self._own_vectors]) if self._own_vectors else plain

    def tokenize(self, texts: Iterable[str]) -> tuple[Tensor, Tensor]:
        """Tokenise texts that include their prompts -> token ids and mask, each (B, L); long texts are cut."""
        return self.tokenizer.pad(self.tokenizer.encode(list(checked_texts(texts))))

    def forward_under(self, context: CorpusContext) -> Forward:
        """Return a function for batches under a context: ids, mask (B, L) on `device` -> (B, width) float32 unit rows.

        No gradient flows through it.
        """
        self.check_context(checked_context(context))
        return unit_rows_under(self._second_stage, self._prepared.of(context))

    def copy_model(self) -> ContextualModel:
        """Return a copy of the model with the weights that `save` writes, in their original number format."""
        return deepcopy(self._saved_model)

    def on(self, device: str | torch.device) -> Self:
        """Copy this encoder to another device, in the same number format; errors as in the constructor."""
        model = deepcopy(self._saved_model)
        dtype = self.dtype if self._exported is None else "auto"
        return type(self)(model, self.tokenizer, device=device, dtype=dtype, name=self.name, exported=self._exported)

    def _encode(
        self, texts: Iterable[str], prompt: str, context: CorpusContext, show_progress: bool | None
    ) -> Embeddings:
        forward = self.forward_under(context)
        before = self._second_stage.positions_before_text(self._prepared.of(context))
        return self._run(texts, prompt, forward, show_progress, before)

    def _run(
        self, texts: Iterable[str], prompt: str, forward: Forward, show_progress: bool | None, before: int = 0
    ) -> Embeddings:
        known = [prompt + text for text in checked_texts(texts)]
        return self._runner.run(known, forward, self.width, show_progress, before)
