"""Any LlamaIndex embedding under a context, including those of paid services."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field
from llama_index.core.storage.kvstore.types import BaseKVStore

from cde_retrievers.binding.whitened import WhitenedMixin
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.external.embedder import WhitenedEmbedder
from cde_retrievers.external.identity import name_of_base
from cde_retrievers.llama_index.embeddings import ContextBoundEmbedding
from cde_retrievers.validation.signatures import validated


class WhitenedEmbedding(WhitenedMixin, ContextBoundEmbedding):
    """Any embedding under the closed-form context of its corpus; used like `ContextualEmbedding`.

    Example:
        ```python
        embed_model = WhitenedEmbedding(OpenAIEmbedding(model="text-embedding-3-small")).fit(nodes)
        index = VectorStoreIndex(nodes, embed_model=embed_model)
        embed_model.save_context("my_index/context")  # later: WhitenedEmbedding(base, context_path=...)
        ```

    Vectors that `fit` pays for are not paid for again when the nodes are indexed. Beyond them a context costs one short
    text per object (see `WhitenedEmbedder`). A context is refused if the model behind the name has changed.
    """

    base: BaseEmbedding = Field(exclude=True, repr=False, description="The embedding to use.")

    @validated
    def __init__(
        self,
        base: BaseEmbedding,
        *,
        base_name: str | None = None,
        model_name: str | None = None,
        context_path: str | Path | None = None,
        embeddings_cache: BaseKVStore | None = None,
        **settings: Any,
    ) -> None:
        """Wrap the base, and load the context if one is named.

        Args:
            base: the embedding to use; give the same one when a saved context is loaded, and to `from_dict`.
            base_name: name of the base's model, if the base does not state it; its `model_name` by default.
            model_name: the same, under the name that `to_dict` writes.
            context_path: load this saved context instead of fitting one.
            embeddings_cache: as for `ContextualEmbedding`.
            settings: the other fields.

        Raises:
            ConfigurationError: the base does not name its model, or a setting is impossible.
            ContextMismatchError: another base fitted the context, or the model behind the name has changed.
        """
        name = name_of_base(base, base_name or model_name)
        path = None if context_path is None else str(context_path)
        super().__init__(model_name=name, context_path=path, base=base, **settings)
        self._bind(self._loader()(), embeddings_cache)

    def _loader(self) -> Callable[[], Embedder]:
        return partial(_whitened_embedder, self.base, self.model_name, **self._whitening_settings())


def _whitened_embedder(base: BaseEmbedding, name: str, **settings: Any) -> WhitenedEmbedder:
    """Wrap the base; a function, because it is pickled with the base, whose methods may not be picklable."""
    return WhitenedEmbedder(name, base.get_text_embedding_batch, base.get_query_embedding, **settings)
