"""LlamaIndex's `BaseEmbedding` over one contextual encoder and one context."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.storage.kvstore.types import BaseKVStore

from cde_retrievers.binding.binding import ContextBinding
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.encoder.embedder import Embedder, checked_embedder
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.llama_index.cache import CachedEmbedder
from cde_retrievers.llama_index.stamps import refuse_other_stamps
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import read_texts

_REMEDY = "embed_model.fit(nodes)  # the same nodes that go into the index"


class ContextualEmbedding(ContextBoundMixin, BaseEmbedding):
    """An embedding whose context is fitted on the nodes before the index is built.

    Example:
        ```python
        embed_model = ContextualEmbedding("minilm").fit(nodes)
        index = VectorStoreIndex(nodes, embed_model=embed_model)
        embed_model.save_context("my_index/context")  # and later: ContextualEmbedding(context_path=...)
        ```

    One object serves one index. For a second index over the same loaded model, use `with_context`, or pass `encoder=`.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_name: str = Field(default="minilm", description="Built-in model, directory or hub repository.")
    variant: str | None = Field(default=None, description='Of a released model: "train" (default) or "hub".')
    device: str = Field(default="auto", description="Where to compute.")
    dtype: str = Field(default="auto", description="Number format of the forward pass; auto is float32 on a CPU.")
    cache_folder: str | None = Field(default=None, description="Where downloads from the hub are kept.")
    embed_batch_size: int = Field(default=64, gt=0, le=2048, description="Texts per call; batched further inside.")
    context_path: str | None = Field(default=None, description="Saved context to load.")
    context_fingerprint: str | None = Field(
        default=None, description="Identity of the context; part of what ingestion caches look at."
    )
    context_size: int | None = Field(default=None, description="Context documents; the model's number if None.")
    context_strategy: str = Field(default="random", description="How context documents are chosen.")
    context_seed: int = Field(default=0, description="Seed of that choice.")
    # LlamaIndex would look texts up in here regardless of context and role, so it stays empty, even if assigned to.
    embeddings_cache: None = Field(default=None, frozen=True, exclude=True, description="Always None; see __init__.")

    _binding: ContextBinding = PrivateAttr()

    @validated
    def __init__(
        self,
        model_name: str | Path = "minilm",
        *,
        context_path: str | Path | None = None,
        encoder: Embedder | None = None,
        embeddings_cache: BaseKVStore | None = None,
        **settings: Any,
    ) -> None:
        """Load the model, and the context if one is named.

        Args:
            model_name: a built-in model, a directory or a hub repository.
            context_path: load this saved context instead of fitting one.
            encoder: a loaded encoder to share, in place of `model_name`, `device`, `dtype`, `cache_folder`.
            embeddings_cache: keep vectors in this key-value store, by context, role (query or document) and text.
            settings: the other fields.

        Raises:
            ConfigurationError: `embeddings_cache` is not a key-value store.
            ContextMismatchError: `context_fingerprint` is among the settings, and `context_path` has another one.
        """
        path = None if context_path is None else str(context_path)
        name = str(model_name) if encoder is None else checked_embedder(encoder).name
        super().__init__(model_name=name, context_path=path, **settings)
        encoder = self._loader()() if encoder is None else encoder
        if embeddings_cache is not None:
            encoder = CachedEmbedder(encoder, embeddings_cache)
        self._binding = ContextBinding(encoder, _REMEDY, expected_fingerprint=self.context_fingerprint)
        if path is not None:
            self._binding.load(path)
            self.context_fingerprint = self._binding.context.fingerprint

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises this class."""
        return "ContextualEmbedding"

    def to_payload(self) -> dict[str, Any]:
        """The fields shown in traces, including the context's identity."""
        return {**super().to_payload(), "context_fingerprint": self.context_fingerprint}

    @validated
    def fit(self, nodes: Iterable[BaseNode | str], *, refit: bool = False, show_progress: bool | None = None) -> Self:
        """Fit the context on the nodes that are going to be indexed (after splitting, all of them).

        Nodes count with the text that the index embeds, metadata included (`MetadataMode.EMBED`).

        Args:
            nodes: nodes or texts; any iterable, read once.
            refit: replace a context that something was embedded under; embed the whole corpus again then.
            show_progress: show a bar; None for long work only.

        Raises:
            ContextInUseError: something was embedded already, and `refit` is False.
            ContextMismatchError: the constructor was told another `context_fingerprint`, and `refit` is False.
            InvalidTextError: an item is neither a node nor a text.
            ContextTooSmallError: fewer than two distinct nodes.
        """
        self._binding.fit(
            read_texts(nodes, _text),
            size=self.context_size,
            strategy=self.context_strategy,
            seed=self.context_seed,
            refit=refit,
            show_progress=show_progress,
        )
        self._context_replaced()
        return self

    def _context_replaced(self) -> None:
        self.context_fingerprint = self.context.fingerprint
        self.context_path = None

    @validated
    def save_context(self, path: str | Path) -> None:
        """Write the context into the directory `path`, for `context_path=`; copies in worker processes read it."""
        self.context.save(path)
        self.context_path = str(path)

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """As LlamaIndex's; also raises ContextMismatchError if a node is stamped with another context."""
        refuse_other_stamps(nodes, self)
        return super().__call__(nodes, **kwargs)

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """As LlamaIndex's; also raises ContextMismatchError if a node is stamped with another context."""
        refuse_other_stamps(nodes, self)
        return await super().acall(nodes, **kwargs)

    def _loader(self) -> Callable[[], Embedder]:
        options = (self.model_name, self.device, self.dtype, self.cache_folder, self.variant)
        return partial(ContextualEncoder.from_pretrained, *options)

    def _pickled_embedder(self) -> Embedder:
        encoder, embedder = self._binding.encoder, super()._pickled_embedder()
        return CachedEmbedder(embedder, encoder.store) if isinstance(encoder, CachedEmbedder) else embedder

    def _pickled_settings(self, embedder: Embedder) -> dict[str, Any]:
        settings = self.model_dump(
            exclude={"callback_manager", "context_path", "context_fingerprint", "embeddings_cache"}
        )
        del settings["class_name"]
        return {**settings, "encoder": embedder}

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        vectors: list[Embedding] = self._binding.encode_documents(texts, show_progress=False).tolist()
        return vectors

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> Embedding:
        vector: Embedding = self._binding.encode_queries([query], show_progress=False)[0].tolist()
        return vector

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)


def _text(node: BaseNode | str) -> str:
    return node.get_content(metadata_mode=MetadataMode.EMBED) if isinstance(node, BaseNode) else node
