"""The encoder: tokenizer, model, device and batching behind one interface."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from cde_retrievers.context.context import CorpusContext, checked_context
from cde_retrievers.context.fitting import context_of_no_corpus, fit_context_of
from cde_retrievers.context.generic import generic_texts
from cde_retrievers.encoder.backends.arithmetic import Backend, ExportBackend, Precision, resolve_arithmetic
from cde_retrievers.encoder.backends.exports import Export, first_stage_fingerprint
from cde_retrievers.encoder.backends.loading import choose
from cde_retrievers.encoder.backends.stage import ExportedStage, over_exported_stage
from cde_retrievers.encoder.batching import BatchRunner, Forward, unit_rows_under
from cde_retrievers.encoder.closed_form import ClosedForm, closed_form_over
from cde_retrievers.encoder.context_cache import PreparedContextCache, by_second_stage
from cde_retrievers.encoder.forked import prepare_torch
from cde_retrievers.encoder.loading import load_over_biencoder, load_pretrained
from cde_retrievers.encoder.publishing import export_together, save_together, upload_together
from cde_retrievers.encoder.tokenizer import TextTokenizer, check_tokenizer
from cde_retrievers.encoder.workers import Given, devices_of, encode_in_processes
from cde_retrievers.model.config import Conditioning
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.sparse.bm25 import document_rows, query_rows
from cde_retrievers.storage.hashing import sha256_of_json
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings


class ContextualEncoder:
    """Fits contexts and embeds texts under them. It holds no context: each call is given one.

    Safe to use from several threads. The model is put into evaluation mode and moved to the device, as a copy if the
    number format changes; it must not be trained while an encoder uses it.

    Args:
        model: the two stages.
        tokenizer: of the `tokenizers` package, or one of transformers' that is backed by it.
        device: "auto" (CUDA, then MPS, then CPU) or a torch device.
        dtype: "auto" (bfloat16 on a CUDA device with native arithmetic for it, else float32), or "float32", "bfloat16"
            or "float16".
        name: name of the model in messages and in the contexts it fits.
        exported: the model's first stage as another backend than torch runs it, on the CPU; None for torch.

    Attributes:
        backend: "torch", "onnx" or "openvino".
        precision: the format of the numbers that are multiplied, such as "float32" or "int8".

    Raises:
        DeviceError: device or dtype is not available here.
        CheckpointError: the tokenizer does not belong to the model.
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
        self._runner = BatchRunner(self.tokenizer, self.device)
        self._prepared = PreparedContextCache(by_second_stage(self._second_stage, self.device))

    @classmethod
    @validated
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        cache_folder: str | Path | None = None,
        variant: str | None = None,
        backend: Backend | None = None,
        precision: Precision = "auto",
    ) -> Self:
        """Load a built-in model, a released model, or a saved one.

        Args:
            name_or_path: "minilm"; a directory that `save` wrote; or a directory or hub repository with a released
                model, such as "jxm/cde-small-v2".
            device: as in the constructor.
            dtype: as in the constructor.
            cache_folder: directory for downloads from the hub, and for models exported to a backend.
            variant: of a released model, "train" (default) or "hub"; see `ContextualModel.from_pretrained`.
            backend: the library that embeds texts: "torch", or on the CPU "onnx" or "openvino", for models of
                conditioning "whitening". The model is exported at first use and kept in a cache. None for what
                `export` wrote, else torch.
            precision: the format of the numbers that are multiplied: "float32", "bfloat16" (not in "onnx") or "int8"
                (not in torch); "auto" for what `export` wrote, else for `dtype` in torch and float32 in the others. A
                model in int8 is a model of its own: contexts and indexes of others do not fit it.

        Raises:
            CheckpointError: there is no such model, or it is incomplete, damaged or of another kind.
            ConfigurationError: the name is both a built-in model and a directory, the variant is unknown, or the
                backend cannot run this model or has no such precision.
            DeviceError: device, dtype or precision is not available here.
            MissingDependencyError: the built-in model's weights or the backend are not installed; names the extra.
            WriteError: the cache cannot be written to.
        """
        # Refuse an impossible one before reading a gigabyte of weights.
        choice = choose(name_or_path, device, dtype, backend, precision)
        model, tokenizer = load_pretrained(name_or_path, cache_folder, variant)
        return cls(model, tokenizer, name=str(name_or_path), **choice.settings(model, tokenizer, cache_folder))

    @classmethod
    @validated
    def from_biencoder(
        cls,
        name_or_path: str | Path,
        conditioning: str | Conditioning = "whitening",
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        seed: int = 0,
        cache_folder: str | Path | None = None,
        backend: Backend = "torch",
        precision: Precision = "auto",
        **settings: Any,
    ) -> Self:
        """Make a contextual encoder over any bi-encoder, or over the built-in one, "minilm".

        Other arguments and errors as in `ContextualModel.from_biencoder` and `from_pretrained`.
        """
        choice = choose(None, device, dtype, backend, precision)
        model, tokenizer = load_over_biencoder(name_or_path, conditioning, seed, cache_folder, settings)
        return cls(model, tokenizer, name=str(name_or_path), **choice.settings(model, tokenizer, cache_folder))

    @validated
    def save(self, path: str | Path) -> None:
        """Write model and tokenizer into the directory `path`, whole or not at all, for `from_pretrained`.

        With another backend than torch, what that runs is written too, as `export` does.

        Raises PathInUseError if there is anything but a model saved before, and WriteError if the disk is full or
        `path` cannot be written to.
        """
        save_together(path, self._saved_model, self.tokenizer, None if self._exported is None else self._exported.copy)

    @validated
    def export(
        self,
        path: str | Path,
        backend: ExportBackend,
        precision: Precision = "auto",
        texts: Iterable[str] | None = None,
    ) -> None:
        """Write what `save` writes, and the model as another backend runs it; `from_pretrained(path)` loads that.

        Args:
            path: as in `save`.
            backend: "onnx" or "openvino".
            precision: as in `from_pretrained`.
            texts: to calibrate int8 on (the first 300 count), such as the documents of a context; None for texts that
                ship with the package. Only OpenVINO calibrates. Other texts make another model.

        Raises:
            ConfigurationError: the backend cannot run this model, or has no such precision.
            DeviceError, MissingDependencyError: as `from_pretrained`.
            PathInUseError, WriteError: as `save`.
        """
        chosen = resolve_arithmetic("cpu", "auto", backend, precision)
        export = Export.of(self._saved_model, self.tokenizer, chosen.backend, chosen.precision, texts)
        save_together(path, self._saved_model, self.tokenizer, export.write)

    @validated
    def export_published_layout(self, path: str | Path) -> None:
        """Write a released model, fine-tuned or not, as `save` does, but in the layout it was published in.

        Raises ConfigurationError if the model is of another architecture.
        """
        export_together(path, self._saved_model, self.tokenizer)

    @validated
    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload what `save` writes, with a model card, to the Hugging Face hub; return the URL of the commit.

        Args:
            repository: "user/name"; created if it does not exist.
            private: whether a new repository is private.
            token: access token; None for that of the current login.
        """
        fingerprint = sha256_of_json([self._saved_model.fingerprint(), self.tokenizer.fingerprint()])
        return upload_together(repository, self._saved_model, self.tokenizer, fingerprint, private, token)

    def copy_model(self) -> ContextualModel:
        """Return a copy of the model with the weights that `save` writes, in their original number format."""
        return deepcopy(self._saved_model)

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
    def first_stage_vectors(self, texts: Iterable[str], show_progress: bool | None = None) -> Embeddings:
        """Return context vectors of documents, (n, width) float32, not normalised."""
        known = [self.config.document_prompt + text for text in checked_texts(texts)]
        return self._runner.run(known, self._first_stage, self.width, show_progress)

    @validated
    def biencoder_vectors(self, texts: Iterable[str], prompt: str, show_progress: bool | None = None) -> Embeddings:
        """Return plain vectors of texts after a prompt, (n, width) float32, not normalised.

        They are the first stage's without its projection, which serves the second stage rather than comparison. Before
        training they are those of the bi-encoder that the model was made from.
        """
        known = [prompt + text for text in checked_texts(texts)]
        return self._runner.run(known, self._first_stage.pooled, self.width, show_progress)

    @property
    def closed_form(self) -> ClosedForm | None:
        """The closed form over plain vectors, or None if a context acts by more."""
        return closed_form_over(self, self.first_stage_fingerprint)

    def first_stage_fingerprint(self) -> str:
        """Return the SHA-256 over all that first-stage vectors depend on; number formats but int8 count as one."""
        plain = first_stage_fingerprint(self._saved_model, self.tokenizer)
        return sha256_of_json([plain, *self._own_vectors]) if self._own_vectors else plain

    @validated
    def encode_documents(
        self,
        texts: Iterable[str],
        context: CorpusContext,
        show_progress: bool | None = None,
        workers: int | Sequence[str] = 1,
    ) -> Embeddings:
        """Embed documents under a context -> (n, width) float32 unit rows in the order given.

        Args:
            texts: the documents.
            context: of their corpus.
            show_progress: None shows a bar for long work in a terminal only.
            workers: 1 embeds in this process. A larger number starts so many processes on this encoder's device, which
                share its threads; a list of devices starts one on each. Every call starts them, and each loads the
                model, so this is for large corpora. A script must start its work below `if __name__ == "__main__":`.

        Raises:
            InvalidTextError: `texts` is not a collection of texts.
            ContextMismatchError: the context was fitted by another model.
            ConfigurationError: there is not one worker.
            DeviceError: a device of `workers` is not available here.
            WorkerError: a worker ended before its time; names the texts it had.
        """
        if workers == 1:
            return self._encode(texts, self.config.document_prompt, context, show_progress)
        self.check_context(checked_context(context))
        dtype = self.dtype if self._exported is None else "auto"  # `save` writes the export, which is in its own format
        given = Given(context, dtype, devices_of(workers, self.device))
        return encode_in_processes(self.save, given, list(checked_texts(texts)), self.width, show_progress)

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

    # The names of these methods in sentence-transformers and Hugging Face.
    save_pretrained = save
    encode_query = encode_queries
    encode_document = encode_documents

    def _encode(
        self, texts: Iterable[str], prompt: str, context: CorpusContext, show_progress: bool | None
    ) -> Embeddings:
        forward = self.forward_under(context)
        before = self._second_stage.positions_before_text(self._prepared.of(context))
        known = [prompt + text for text in checked_texts(texts)]
        return self._runner.run(known, forward, self.width, show_progress, before)

    def tokenize(self, texts: Iterable[str]) -> tuple[Tensor, Tensor]:
        """Tokenise texts that include their prompts -> token ids and mask, each (B, L); long texts are cut."""
        return self.tokenizer.pad(self.tokenizer.encode(list(checked_texts(texts))))

    def forward_under(self, context: CorpusContext) -> Forward:
        """Return a function for batches under a context: ids, mask (B, L) on `device` -> (B, width) float32 unit rows.

        No gradient flows through it.
        """
        self.check_context(checked_context(context))
        return unit_rows_under(self._second_stage, self._prepared.of(context))

    def on(self, device: str | torch.device) -> Self:
        """Copy this encoder to another device, in the same number format; errors as in the constructor."""
        model = deepcopy(self._saved_model)
        dtype = self.dtype if self._exported is None else "auto"
        return type(self)(model, self.tokenizer, device=device, dtype=dtype, name=self.name, exported=self._exported)
