"""LangChain's `Embeddings` bound to a context: their base class, and the one over a contextual encoder."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from pydantic import ConfigDict, Field, PrivateAttr

from cde_retrievers.binding.binding import ContextBinding
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.binding.pretrained import PretrainedMixin
from cde_retrievers.binding.tokens import ModelTokens
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.util.imports import require
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import read_texts

if TYPE_CHECKING:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

_REMEDY = "embeddings.fit(documents)  # the same documents that go into the vector store"
_STORE_BATCH = 100  # the largest batch that LangChain makes of a corpus by itself, in `index()`


class ContextBoundEmbeddings(ContextBoundMixin, Embeddings):
    """Embeddings of documents and queries under one context; subclasses define the embedder."""

    model_config = ConfigDict(
        extra="forbid", populate_by_name=True, protected_namespaces=(), arbitrary_types_allowed=True
    )

    model_name: str | Path = ""
    """Name of the model."""
    show_progress: bool | None = None
    """Progress bars: True shows one for every fit and every call with more than 100 documents, False none, and None
    only for long work on a terminal. Vector stores pass up to 100 documents at a time, Qdrant 64, without a bar."""
    context_path: str | Path | None = None
    """Load this saved context instead of fitting one."""
    context_documents: list[Document | str] | None = Field(default=None, repr=False, exclude=True)
    """Fit a context on these documents at once."""
    context_size: int | None = None
    """Number of context documents; the model's own if None."""
    context_strategy: str = "random"
    """The strategy that selects them: "random", "kmeans" or "diverse"."""
    context_seed: int = 0
    """Seed of the selection."""

    _binding: ContextBinding = PrivateAttr()

    def _bind(self, embedder: Embedder) -> None:
        """Use this embedder, and load or fit the context that the fields name."""
        self.model_name = embedder.name
        self._binding = ContextBinding(self._with_settings(embedder), _REMEDY)
        if self.context_path is not None and self.context_documents is not None:
            raise ConfigurationError("context_path and context_documents both name a context; give one of them")
        if self.context_path is not None:
            self._binding.load(self.context_path)
        if self.context_documents is not None:
            self.fit(self.context_documents)

    @validated
    def fit(self, documents: Iterable[Document | str], *, refit: bool = False) -> Self:
        """Fit the context on the documents that will be indexed: all of them, after splitting.

        Args:
            documents: LangChain documents or texts; any iterable, read once.
            refit: replace a context under which something was embedded; then embed the whole corpus again.

        Raises:
            ContextInUseError: something was already embedded, and `refit` is False; never with `side="query"`.
            InvalidTextError: an item is neither a document nor a text.
            ContextTooSmallError: there are fewer than two distinct documents.
        """
        self._binding.fit(
            read_texts(documents, _text),
            size=self.context_size,
            strategy=self.context_strategy,
            seed=self.context_seed,
            language=self.language,
            refit=refit,
            show_progress=self.show_progress,
        )
        self._context_replaced()
        return self

    def _context_replaced(self) -> None:
        self.context_path = None

    @property
    def context_fingerprint(self) -> str | None:
        """Identity of the context, to store with the index; None before `fit`."""
        return self.context.fingerprint if self.is_fitted else None

    @validated
    def save_context(self, path: str | Path) -> None:
        """Write the context into the directory `path`, for `context_path=`."""
        self.context.save(path)
        self.context_path = path

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents under the context -> unit vectors."""
        shown = self.show_progress and not (isinstance(texts, list) and len(texts) <= _STORE_BATCH)
        vectors: list[list[float]] = self._binding.encode_documents(texts, shown).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a query under the context of the documents -> unit vector."""
        vector: list[float] = self._binding.encode_queries([text], show_progress=False)[0].tolist()
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Call `embed_documents` without blocking the event loop."""
        return await asyncio.to_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Call `embed_query` without blocking the event loop."""
        return await asyncio.to_thread(self.embed_query, text)

    def _pickled_settings(self, embedder: Embedder) -> dict[str, Any]:
        return self.model_dump(exclude={"context_path"})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ContextBoundEmbeddings):
            return NotImplemented
        same_model = self.embedder.fingerprint == other.embedder.fingerprint
        return same_model and self.context_fingerprint == other.context_fingerprint


class ContextualEmbeddings(PretrainedMixin, ContextBoundEmbeddings):
    """Embeddings of a contextual model, whose context is fitted on the corpus before the index is built.

    Example:
        ```python
        embeddings = ContextualEmbeddings(model="minilm").fit(documents)
        store = InMemoryVectorStore.from_documents(documents, embeddings)
        embeddings.save_context("my_index/context")  # and later: ContextualEmbeddings(context_path=...)
        ```

    One object serves one index. For a second index over the same loaded model, use `with_context`, or pass `encoder=`.
    """

    model_name: str | Path = Field(default="minilm", alias="model")
    """A built-in model, a directory or a hub repository, as for `ContextualEncoder.from_pretrained`."""
    encoder: Embedder | None = Field(default=None, repr=False, exclude=True)
    """A loaded encoder to share, in place of `model_name` and the settings it is loaded with."""

    def model_post_init(self, context: Any, /) -> None:
        """Load the model, and the context if one is named."""
        self._bind(self._loader()() if self.encoder is None else self.encoder)

    @validated
    def text_splitter(self, overlap: int | None = None, **options: Any) -> "RecursiveCharacterTextSplitter":
        """Return a splitter whose parts the model reads whole, and where no part ends with a heading of Markdown.

        Args:
            overlap: tokens that a part repeats of the one before; an eighth of its length if None.
            options: passed to LangChain's `RecursiveCharacterTextSplitter`.

        Raises:
            ConfigurationError: a length is impossible, or `encoder` is of a class that states no tokens.
            MissingDependencyError: langchain-text-splitters is not installed.
        """
        require("langchain_text_splitters", "text_splitter()", package="langchain-text-splitters")
        from cde_retrievers.langchain.splitter import HeadingTextSplitter

        tokens = ModelTokens.of(self.embedder)
        lengths = tokens.chunk_lengths(overlap, options.get("chunk_size"))
        return HeadingTextSplitter(**{**lengths, "length_function": tokens.count, **options})


def _text(document: Document | str) -> str:
    return document.page_content if isinstance(document, Document) else document
