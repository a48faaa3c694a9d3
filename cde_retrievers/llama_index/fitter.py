"""A pipeline step between splitter and embedding, which fits the context on the nodes and stamps them with it."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from llama_index.core.bridge.pydantic import Field
from llama_index.core.schema import BaseNode, TransformComponent
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from cde_retrievers.errors import ContextNotFittedError
from cde_retrievers.llama_index.embeddings import ContextBoundEmbedding
from cde_retrievers.llama_index.guards import refuse_to_mix
from cde_retrievers.llama_index.stamps import stamped


class ContextFitter(TransformComponent):
    """A pipeline step that fits an embedding's context on the first nodes, if it has none, and stamps all nodes.

    Example:
        ```python
        fitter = ContextFitter(embed_model=embed_model, vector_store=store)
        IngestionPipeline(transformations=[splitter, fitter, embed_model], vector_store=store)
        ```

    It never refits: later runs embed other nodes under the same context. Fit before the run, with
    `embed_model.fit(splitter(documents))`, if a document store passes only changed documents to the pipeline, or if it
    runs in worker processes, each of which sees only some of the nodes.

    Raises:
        ContextMismatchError: the vector store holds nodes of another context, or holds stamped nodes while there is no
            context yet; in a call also if a node has a vector of another context.
    """

    embed_model: ContextBoundEmbedding = Field(description="The embedding of the nodes, which comes next.")
    vector_store: BasePydanticVectorStore | None = Field(
        default=None, exclude=True, description="The vector store of the nodes, checked for other contexts."
    )
    reembed: bool = Field(default=False, description="Drop vectors of another context that nodes have.")

    def model_post_init(self, context: Any, /) -> None:
        """Refuse a vector store of another context before any work is done."""
        self._check_store()

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this class."""
        return "ContextFitter"

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Return LlamaIndex's dictionary, on which ingestion caches depend; before the fit no cache answers it."""
        unfitted = {} if self.embed_model.is_fitted else {"unfitted": uuid4().hex}
        return {**super().to_dict(**kwargs), **unfitted}

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Return stamped copies of the nodes, after a fit on them if the context is not fitted yet.

        Raises:
            ContextMismatchError: the vector store or a node's vector is of another context.
            ContextTooSmallError: there is no context yet, and fewer than two distinct nodes to fit it on.
        """
        self._check_store()
        if not self.embed_model.is_fitted:
            self.embed_model.fit(nodes)
        return stamped(nodes, self.embed_model, reembed=self.reembed)

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Call it without blocking the event loop."""
        return await asyncio.to_thread(self.__call__, nodes, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pipelines pickle their steps for worker processes, each of which sees only some of the nodes.
        if not self.embed_model.is_fitted:
            raise ContextNotFittedError(
                "a ContextFitter in a worker process would fit on some of the nodes only. Before running the "
                "pipeline with num_workers, add the line\n"
                "    embed_model.fit(splitter(documents))  # all nodes\n"
                "or run it without num_workers"
            )
        self._check_store()
        return _restore, (type(self), self.embed_model, self.reembed)

    def _check_store(self) -> None:
        if self.vector_store is not None:
            refuse_to_mix(self.vector_store, self.embed_model)


def _restore(kind: type[ContextFitter], embed_model: ContextBoundEmbedding, reembed: bool) -> ContextFitter:
    """Unpickle without the vector store, which was checked before, and to which workers do not write."""
    return kind(embed_model=embed_model, reembed=reembed)
