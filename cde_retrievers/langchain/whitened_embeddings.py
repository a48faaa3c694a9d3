"""Any LangChain embedding under a context, including those of paid services."""

from collections.abc import Callable
from functools import partial
from typing import Any

from langchain_core.embeddings import Embeddings
from pydantic import Field

from cde_retrievers.binding.whitened import WhitenedMixin
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.external.embedder import WhitenedEmbedder
from cde_retrievers.external.identity import name_of_base
from cde_retrievers.langchain.embeddings import ContextBoundEmbeddings


class WhitenedEmbeddings(WhitenedMixin, ContextBoundEmbeddings):
    """Any embedding under the closed-form context of its corpus; used like `ContextualEmbeddings`.

    Example:
        ```python
        embeddings = WhitenedEmbeddings(base=OpenAIEmbeddings(model="text-embedding-3-small")).fit(documents)
        store = InMemoryVectorStore.from_documents(documents, embeddings)
        embeddings.save_context("my_index/context")  # later: WhitenedEmbeddings(base=..., context_path=...)
        ```

    Vectors that `fit` pays for are not paid for again when the documents are indexed. Beyond them a context costs one
    short text per object (see `WhitenedEmbedder`). A context is refused if the model behind the name has changed.

    Raises:
        ConfigurationError: the base does not name its model, or a setting is impossible.
        ContextMismatchError: another base fitted the context, or the model behind the name has changed.
    """

    base: Embeddings = Field(repr=False, exclude=True)
    """The embedding to use; give the same one when a saved context is loaded."""
    model_name: str = Field(default="", alias="base_name")
    """Name of the base's model, if the base does not state it; its `model_name` or `model` by default."""

    def model_post_init(self, context: Any, /) -> None:
        """Wrap the base, and load the context if one is named."""
        self._bind(self._loader()())

    def _loader(self) -> Callable[[], Embedder]:
        name = name_of_base(self.base, self.model_name)
        return partial(_whitened_embedder, self.base, name, **self._whitening_settings())


def _whitened_embedder(base: Embeddings, name: str, **settings: Any) -> WhitenedEmbedder:
    """Wrap the base; a function, because it is pickled with the base, whose methods may not be picklable."""
    return WhitenedEmbedder(name, base.embed_documents, base.embed_query, **settings)
