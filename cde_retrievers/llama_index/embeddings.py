"""LlamaIndex's `BaseEmbedding` bound to a context: the base class, and the one over a contextual encoder."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode
from llama_index.core.storage.kvstore.types import BaseKVStore

from cde_retrievers.binding.binding import ContextBinding
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.binding.pretrained import PretrainedMixin
from cde_retrievers.binding.tokens import ModelTokens
from cde_retrievers.encoder.embedder import Embedder, checked_embedder
from cde_retrievers.llama_index.caches import CachedEmbedder
from cde_retrievers.llama_index.splitter import ModelSentenceSplitter
from cde_retrievers.llama_index.stamps import refuse_other_stamps
from cde_retrievers.llama_index.vector_documents import embedded_text
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import read_texts

_REMEDY = "embed_model.fit(nodes)  # the same nodes that go into the index"


class ContextBoundEmbedding(ContextBoundMixin, BaseEmbedding):
    """An embedding of nodes and queries under one context; subclasses define the embedder."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    embed_batch_size: int = Field(default=64, gt=0, le=2048, description="Texts per call; batched further inside.")
    context_path: str | None = Field(default=None, description="Saved context to load instead of fitting one.")
    context_fingerprint: str | None = Field(
        default=None, description="Identity of the context; ingestion caches depend on it."
    )
    context_size: int | None = Field(default=None, description="Number of context documents; the model's own if None.")
    context_strategy: str = Field(
        default="random", description='The strategy that selects them: "random", "kmeans" or "diverse".'
    )
    context_seed: int = Field(default=0, description="Seed of the selection.")
    # LlamaIndex would look texts up in here regardless of context and role, so it stays None, even if assigned to.
    embeddings_cache: None = Field(default=None, frozen=True, exclude=True, description="Always None; see __init__.")

    _binding: ContextBinding = PrivateAttr()

    def _bind(self, embedder: Embedder, embeddings_cache: BaseKVStore | None) -> None:
        """Use this embedder, through the cache if there is one, and load the context that the fields name."""
        embedder = self._with_settings(embedder)
        if embeddings_cache is not None:
            embedder = CachedEmbedder(embedder, embeddings_cache)
        self._binding = ContextBinding(embedder, _REMEDY, expected_fingerprint=self.context_fingerprint)
        if self.context_path is not None:
            self._binding.load(self.context_path)
            self.context_fingerprint = self.context.fingerprint

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this class."""
        return cls.__name__

    def to_payload(self) -> dict[str, Any]:
        """Return the fields shown in traces, including the fingerprint of the context."""
        return {**super().to_payload(), "context_fingerprint": self.context_fingerprint}

    @validated
    def fit(self, nodes: Iterable[BaseNode | str], *, refit: bool = False, show_progress: bool | None = None) -> Self:
        """Fit the context on the nodes that will be indexed: all of them, after splitting.

        Of a node, the text that the index embeds is used, including metadata (`MetadataMode.EMBED`).

        Args:
            nodes: nodes or texts; any iterable, read once.
            refit: replace a context under which something was embedded; then embed the whole corpus again.
            show_progress: show a progress bar; None shows one for long work only.

        Raises:
            ContextInUseError: something was already embedded, and `refit` is False; never with `side="query"`.
            ContextMismatchError: the constructor was given another `context_fingerprint`, and `refit` is False.
            InvalidTextError: an item is neither a node nor a text.
            ContextTooSmallError: there are fewer than two distinct nodes.
        """
        self._binding.fit(
            read_texts(nodes, _text),
            size=self.context_size,
            strategy=self.context_strategy,
            seed=self.context_seed,
            language=self.language,
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
        """Write the context into the directory `path`, for `context_path=`."""
        self.context.save(path)
        self.context_path = str(path)

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Embed nodes as LlamaIndex does; raises ContextMismatchError if one is stamped with another context."""
        refuse_other_stamps(nodes, self)
        return super().__call__(nodes, **kwargs)

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Embed nodes as LlamaIndex does; raises ContextMismatchError if one is stamped with another context."""
        refuse_other_stamps(nodes, self)
        return await super().acall(nodes, **kwargs)

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

    def _pickled_embedder(self) -> Embedder:
        embedder, given = super()._pickled_embedder(), self.embedder
        return CachedEmbedder(embedder, given.store) if isinstance(given, CachedEmbedder) else embedder

    def _pickled_settings(self, embedder: Embedder) -> dict[str, Any]:
        settings = self.model_dump(
            exclude={"callback_manager", "context_path", "context_fingerprint", "embeddings_cache"}
        )
        del settings["class_name"]
        return settings


class ContextualEmbedding(PretrainedMixin, ContextBoundEmbedding):
    """The embedding of a contextual model, whose context is fitted on the nodes before the index is built.

    Example:
        ```python
        embed_model = ContextualEmbedding("minilm")
        nodes = embed_model.node_parser()(documents)
        index = VectorStoreIndex(nodes, embed_model=embed_model.fit(nodes))
        embed_model.save_context("my_index/context")  # and later: ContextualEmbedding(context_path=...)
        ```

    One object serves one index. For a second index over the same loaded model, use `with_context`, or pass `encoder=`.
    """

    model_name: str = Field(default="minilm", description="Built-in model, directory or hub repository.")

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
            encoder: a loaded encoder to share, in place of `model_name` and the settings it is loaded with.
            embeddings_cache: keep vectors in this key-value store, by context, role (query or document) and text.
            settings: the other fields.

        Raises:
            ConfigurationError: `embeddings_cache` is not a key-value store.
            ContextMismatchError: `context_fingerprint` is given, and the context at `context_path` has another one.
        """
        name = str(model_name) if encoder is None else checked_embedder(encoder).name
        path = None if context_path is None else str(context_path)
        super().__init__(model_name=name, context_path=path, **settings)
        self._bind(self._loader()() if encoder is None else encoder, embeddings_cache)

    @validated
    def node_parser(self, overlap: int | None = None, **options: Any) -> SentenceSplitter:
        """Return a splitter whose nodes the model reads whole; LlamaIndex's own makes nodes of 1,024 tokens.

        Args:
            overlap: tokens that a node repeats of the one before; an eighth of its length if None.
            options: passed to LlamaIndex's `SentenceSplitter`.

        Raises:
            ConfigurationError: a length is impossible, or `encoder` is of a class that states no tokens.
        """
        tokens = ModelTokens.of(self.embedder)
        lengths = tokens.chunk_lengths(overlap, options.get("chunk_size"))
        return ModelSentenceSplitter(**{**lengths, "tokenizer": tokens, **options})


def _text(node: BaseNode | str) -> str:
    return embedded_text(node) if isinstance(node, BaseNode) else node
