"""Texts to embeddings under an explicit context: tokenizer, model, device and batching in one place."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from tqdm.auto import tqdm

from cde_retrievers.context import CorpusContext
from cde_retrievers.device import default_token_budget, resolve_device, resolve_dtype, run_batches
from cde_retrievers.errors import CheckpointError, ConfigurationError
from cde_retrievers.files import atomic_directory, sha256_of_json
from cde_retrievers.model.config import Conditioning
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.model.hub import local_folder
from cde_retrievers.model.pretrained import BUILT_IN
from cde_retrievers.selection import select_documents
from cde_retrievers.text import TextTokenizer, checked_texts, length_sorted_batches, load_tokenizer

Embeddings = NDArray[np.float32]
Forward = Callable[[Tensor, Tensor], Tensor]

_WINDOW = 8_192  # texts tokenised and sorted together: enough to batch well, bounded for any corpus
_LONG_WORK = 1_000  # texts from which a progress bar is worth its line
_PREPARED_CONTEXTS = 8


class ContextualEncoder:
    """Fits contexts and embeds texts under them. It holds no context itself: every call is given one.

    Safe to use from several threads. The model must not be trained while an encoder uses it.

    Args:
        model: the two stages.
        tokenizer: of the `tokenizers` package, or one of transformers' that is backed by it.
        device: "auto" (CUDA, then MPS, then CPU) or a torch device.
        dtype: "auto" (bfloat16 where the device is fast at it, else float32) or a floating-point format.
        name: what the model is called in messages and in the contexts it fits.

    Raises:
        DeviceError: device or dtype are not to be had here.
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
    ) -> None:
        self.name = name
        self.device = resolve_device(device)
        self.dtype = resolve_dtype(dtype, self.device)
        self.config = model.config
        self._tokenizer = TextTokenizer(tokenizer, self.config.max_length, self.config.backbone["pad_token_id"] or 0)
        if self._tokenizer.vocabulary_size > self.config.backbone["vocab_size"]:
            raise CheckpointError(
                f"the tokenizer knows {self._tokenizer.vocabulary_size} tokens, the model "
                f"{self.config.backbone['vocab_size']}; use the tokenizer the model was trained with"
            )
        # Before the cast: a context must fit the same model in whatever number format it runs.
        self.fingerprint = sha256_of_json([model.fingerprint(), self._tokenizer.fingerprint()])
        # Kept as it was given, so that `save` loses nothing when the arithmetic runs in fewer bits.
        self._saved_model = model
        lossy = self.dtype != next(model.parameters()).dtype
        self.model = (deepcopy(model) if lossy else model).to(self.device, self.dtype).eval()
        self._lock = Lock()
        self._prepared: OrderedDict[tuple[str, bytes], Any] = OrderedDict()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        cache_folder: str | Path | None = None,
    ) -> Self:
        """Load a built-in model ("minilm"), a directory that `save` wrote, or a hub repository in that layout.

        Raises:
            CheckpointError: there is no such model, or it is incomplete, damaged or of another kind.
            MissingDependencyError: the built-in model's weights are not installed; names the extra.
        """
        # Refuse an impossible device before a gigabyte of weights is read.
        resolve_dtype(dtype, resolve_device(device))
        name = str(name_or_path)
        if name in BUILT_IN:
            model, folder = BUILT_IN[name]()
        else:
            folder = local_folder(name_or_path, cache_folder)
            model = ContextualModel.from_pretrained(folder)
        return cls(model, load_tokenizer(folder), device=device, dtype=dtype, name=name)

    @classmethod
    def from_biencoder(
        cls,
        name_or_path: str | Path,
        conditioning: str | Conditioning = "whitening",
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        seed: int = 0,
        cache_folder: str | Path | None = None,
        **settings: Any,
    ) -> Self:
        """A contextual encoder over any bi-encoder; arguments and errors as in `ContextualModel.from_biencoder`."""
        resolve_dtype(dtype, resolve_device(device))
        folder = local_folder(name_or_path, cache_folder)
        model = ContextualModel.from_biencoder(folder, conditioning, seed=seed, **settings)
        return cls(model, load_tokenizer(folder), device=device, dtype=dtype, name=str(name_or_path))

    def save(self, path: str | Path) -> None:
        """Write model and tokenizer into the directory `path`, whole or not at all, for `from_pretrained`.

        Raises:
            FileExistsError: `path` is a file, or a directory with other files in it.
        """
        with atomic_directory(path) as directory:
            self._saved_model.write_files(directory)
            self._tokenizer.save(directory)

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return self.model.width

    def fit_context(
        self,
        texts: Iterable[str],
        size: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        show_progress: bool | None = None,
    ) -> CorpusContext:
        """Choose documents that stand for the corpus and turn them into its context.

        Args:
            texts: the corpus, exactly as it will be embedded; any iterable, read once, in bounded memory.
            size: context documents; the model's own number if None.
            strategy: "random", "kmeans" (one document per cluster, large clusters first) or "diverse" (each as
                far as possible from those before it). The last two embed eight candidates per document.
            seed: same corpus and seed, same context.
            show_progress: True or False, or None for a bar only where the work is long.

        Raises:
            InvalidTextError: the corpus is no collection of texts.
            ContextTooSmallError: it has fewer than two distinct texts.
            ConfigurationError: size, strategy or seed is impossible.
        """
        size = self.config.context_size if size is None else size
        chosen = select_documents(
            texts, size, strategy, seed, lambda sample: self.first_stage_vectors(sample, show_progress)
        )
        return CorpusContext(
            vectors=chosen.vectors,
            model_name=self.name,
            model_fingerprint=self.fingerprint,
            documents=[hashlib.sha256(text.encode("utf-8")).hexdigest() for text in chosen.texts],
            positions=chosen.positions,
            distinct=chosen.distinct,
            corpus_size=chosen.seen,
            strategy=strategy,
            seed=seed,
        )

    def first_stage_vectors(self, texts: Iterable[str], show_progress: bool | None = None) -> Embeddings:
        """Context vectors of documents, (n, width) float32, not normalised."""
        return self._run(texts, self.config.document_prompt, self.model.first_stage, show_progress)

    def encode_documents(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Documents under a context -> (n, width) float32 unit rows in the order given; (0, width) for none.

        Raises:
            InvalidTextError: `texts` is no collection of texts.
            ContextMismatchError: the context was fitted by another model.
        """
        return self._encode(texts, self.config.document_prompt, context, show_progress)

    def encode_queries(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Queries under the context of the corpus they are for; otherwise as `encode_documents`."""
        return self._encode(texts, self.config.query_prompt, context, show_progress)

    def _encode(
        self, texts: Iterable[str], prompt: str, context: CorpusContext, show_progress: bool | None
    ) -> Embeddings:
        if not isinstance(context, CorpusContext):
            raise ConfigurationError(
                f"a CorpusContext is needed, found {type(context).__name__}; make one with fit_context(documents)"
            )
        context.check_model(self.fingerprint, self.name)
        prepared = self._prepare(context)

        def forward(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            embeddings = self.model.second_stage.embed(input_ids, attention_mask, prepared)
            return normalize(embeddings.float(), dim=-1)

        return self._run(texts, prompt, forward, show_progress)

    def _prepare(self, context: CorpusContext) -> Any:
        """The second stage's share of work that depends on the context alone, remembered for the last few."""
        key = (context.fingerprint, hashlib.sha256(context.vectors.data).digest())
        with self._lock:
            if key not in self._prepared:
                with torch.inference_mode():
                    vectors = torch.from_numpy(context.vectors.copy()).to(self.device)
                    self.model.second_stage.check_context(vectors)
                    self._prepared[key] = self.model.second_stage.prepare(vectors)
                if len(self._prepared) > _PREPARED_CONTEXTS:
                    self._prepared.popitem(last=False)
            self._prepared.move_to_end(key)
            return self._prepared[key]

    def _run(self, texts: Iterable[str], prompt: str, forward: Forward, show_progress: bool | None) -> Embeddings:
        known = list(checked_texts(texts))
        result = np.empty((len(known), self.width), dtype=np.float32)
        with _progress_bar(len(known), show_progress) as bar:
            for start in range(0, len(known), _WINDOW):
                window = [prompt + text for text in known[start : start + _WINDOW]]
                for indices, vectors in self._run_window(window, forward):
                    result[start + np.asarray(indices)] = vectors
                    bar.update(len(indices))
        return result

    def _run_window(self, texts: Sequence[str], forward: Forward) -> Iterator[tuple[Sequence[int], Embeddings]]:
        tokens = self._tokenizer.encode(texts)
        lengths = [len(row) for row in tokens]

        def run(indices: Sequence[int]) -> Embeddings:
            input_ids, attention_mask = self._tokenizer.pad([tokens[i] for i in indices])
            # One forward pass at a time: more would only share the same cores, and add up in memory.
            with self._lock, torch.inference_mode():
                vectors = forward(input_ids.to(self.device), attention_mask.to(self.device))
                array: Embeddings = vectors.float().cpu().numpy()
            return array

        def padded_tokens(indices: Sequence[int]) -> int:
            return len(indices) * max(lengths[i] for i in indices)

        batches = length_sorted_batches(lengths, default_token_budget(self.device))
        return run_batches(batches, run, padded_tokens)


def _progress_bar(total: int, show_progress: bool | None) -> "tqdm[Any]":
    """One bar for one call; by default only for long work, and only where somebody watches a terminal."""
    hidden = not show_progress if show_progress is not None else (None if total >= _LONG_WORK else True)
    return tqdm(total=total, desc="Embedding", unit="text", disable=hidden)
