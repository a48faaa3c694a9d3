"""A context for any LlamaIndex embedding, a paid service's too."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.external.embedder import DEFAULTS, WhitenedEmbedder
from cde_retrievers.external.identity import name_of_base, require_picklable
from cde_retrievers.external.retries import DEFAULT_POLICY
from cde_retrievers.external.vector_cache import DEFAULT_MIB
from cde_retrievers.llama_index.embeddings import ContextualEmbedding
from cde_retrievers.validation.signatures import validated


class WhitenedEmbedding(ContextualEmbedding):
    """Any embedding under the closed-form context of its corpus; otherwise a `ContextualEmbedding`.

    Example:
        ```python
        embed_model = WhitenedEmbedding(OpenAIEmbedding(model="text-embedding-3-small")).fit(nodes)
        index = VectorStoreIndex(nodes, embed_model=embed_model)
        embed_model.save_context("my_index/context")  # later: WhitenedEmbedding(base, context_path=...)
        ```

    What `fit` pays for is not paid for again when the nodes are indexed; what a context costs beyond that is one short
    text per object (see `WhitenedEmbedder`). A context is refused if the name has come to mean another model.
    """

    base: BaseEmbedding = Field(exclude=True, repr=False, description="The embedding to use.")
    power: float = Field(default=DEFAULTS.power, description="How much is whitened, 0 (not at all) to 1.")
    shrinkage: float = Field(
        default=DEFAULTS.shrinkage, description="What is added to each direction's variance, in units of their mean."
    )
    batch_size: int = Field(default=DEFAULT_POLICY.batch_size, description="Documents per call of the base.")
    retries: int = Field(default=DEFAULT_POLICY.retries, description="Further attempts after a call that failed.")
    wait: float = Field(default=DEFAULT_POLICY.wait, description="Seconds before the first of them; they double.")
    keep_mib: int = Field(default=DEFAULT_MIB, description="Mebibytes of plain vectors that are kept in memory.")

    # How a model is loaded is the base's own business: these settings are none here.
    variant: ClassVar[None] = None  # type: ignore[misc]
    device: ClassVar[str] = ""  # type: ignore[misc]
    dtype: ClassVar[str] = ""  # type: ignore[misc]
    cache_folder: ClassVar[None] = None  # type: ignore[misc]

    @validated
    def __init__(
        self,
        base: BaseEmbedding,
        *,
        base_name: str | None = None,
        model_name: str | None = None,
        context_path: str | Path | None = None,
        power: float = DEFAULTS.power,
        shrinkage: float = DEFAULTS.shrinkage,
        batch_size: int = DEFAULT_POLICY.batch_size,
        retries: int = DEFAULT_POLICY.retries,
        wait: float = DEFAULT_POLICY.wait,
        keep_mib: int = DEFAULT_MIB,
        **settings: Any,
    ) -> None:
        """Put the base under contexts, and load the one that is named.

        Args:
            base: the embedding to use; give the same when a saved context is loaded, and to `from_dict`.
            base_name: what its model is called, if it does not say: its `model_name` by default.
            model_name: the same, under the name that `to_dict` writes.
            context_path: load this saved context instead of fitting one.
            power: how much is whitened, 0 (not at all) to 1.
            shrinkage: what is added to each direction's variance, in units of their mean; more than 0.
            batch_size: documents per call of the base.
            retries: further attempts after a call of the base that failed.
            wait: seconds before the first of them; each next wait is twice as long, a minute at most.
            keep_mib: mebibytes of plain vectors that are kept in memory, of documents and of queries each.
            settings: the other fields.

        Raises:
            ConfigurationError: the base has no name, or a setting is impossible.
            ContextMismatchError: the context is another base's, or the base's name has come to mean another model.
        """
        how: dict[str, Any] = {
            "power": power,
            "shrinkage": shrinkage,
            "batch_size": batch_size,
            "retries": retries,
            "wait": wait,
            "keep_mib": keep_mib,
        }
        name = name_of_base(base, base_name or model_name)
        super().__init__(name, encoder=None, context_path=context_path, base=base, **how, **settings)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises this class."""
        return "WhitenedEmbedding"

    def _loader(self) -> Callable[[], Embedder]:
        return partial(
            _whitened,
            self.base,
            self.model_name,
            power=self.power,
            shrinkage=self.shrinkage,
            batch_size=self.batch_size,
            retries=self.retries,
            wait=self.wait,
            keep_mib=self.keep_mib,
        )

    def _known_width(self) -> None:
        return None

    def _pickled_settings(self, embedder: Embedder) -> dict[str, Any]:
        require_picklable(self.base)
        settings = super()._pickled_settings(embedder)
        del settings["encoder"]
        return {**settings, "base": self.base}


def _whitened(base: BaseEmbedding, name: str, **settings: Any) -> WhitenedEmbedder:
    """The base under contexts; a function, since it is pickled and a framework's wrapped methods cannot be."""
    return WhitenedEmbedder(name, base.get_text_embedding_batch, base.get_query_embedding, **settings)
