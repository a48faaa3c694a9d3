"""The encoder: a model that is loaded from files, embeds texts under contexts, and is saved, exported or published."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from cde_retrievers.context.context import CorpusContext, checked_context
from cde_retrievers.encoder.backends.arithmetic import Backend, ExportBackend, Precision, resolve_arithmetic
from cde_retrievers.encoder.backends.exports import Export
from cde_retrievers.encoder.backends.loading import choose
from cde_retrievers.encoder.loading import load_over_biencoder, load_pretrained
from cde_retrievers.encoder.model_embedder import ModelEmbedder
from cde_retrievers.encoder.publishing import save_model, save_published_model, upload_model
from cde_retrievers.encoder.workers import WorkerSettings, devices_of, encode_in_processes
from cde_retrievers.model.config import Conditioning
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings


class ContextualEncoder(ModelEmbedder):
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
        save_model(path, self._saved_model, self.tokenizer, None if self._exported is None else self._exported.copy)

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
            ConfigurationError: the backend cannot run this model, or has no such precision; or texts are given where
                nothing is calibrated, or are none.
            InvalidTextError: `texts` is not a collection of texts.
            DeviceError, MissingDependencyError: as `from_pretrained`.
            PathInUseError, WriteError: as `save`.
        """
        chosen = resolve_arithmetic("cpu", "auto", backend, precision)
        export = Export.of(self._saved_model, self.tokenizer, chosen.backend, chosen.precision, texts)
        save_model(path, self._saved_model, self.tokenizer, export.write)

    @validated
    def export_published_layout(self, path: str | Path) -> None:
        """Write a released model, fine-tuned or not, as `save` does, but in the layout it was published in.

        Raises ConfigurationError if the model is of another architecture.
        """
        save_published_model(path, self._saved_model, self.tokenizer)

    @validated
    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload what `save` writes, with a model card, to the Hugging Face hub; return the URL of the commit.

        Args:
            repository: "user/name"; created if it does not exist.
            private: whether a new repository is private.
            token: access token; None for that of the current login.
        """
        return upload_model(repository, self._saved_model, self.tokenizer, private, token)

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
            return super().encode_documents(texts, context, show_progress)
        self.check_context(checked_context(context))
        dtype = self.dtype if self._exported is None else "auto"  # `save` writes the export, which is in its own format
        settings = WorkerSettings(context, dtype, devices_of(workers, self.device))
        return encode_in_processes(self.save, settings, list(checked_texts(texts)), self.width, show_progress)

    # The names of these methods in sentence-transformers and Hugging Face.
    save_pretrained = save
    encode_query = ModelEmbedder.encode_queries
    encode_document = encode_documents
