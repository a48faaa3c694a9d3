"""A context for any LangChain embedding, a paid service's too."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from langchain_core.embeddings import Embeddings
from pydantic import Field

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.external.embedder import DEFAULTS, WhitenedEmbedder
from cde_retrievers.external.identity import name_of_base, require_picklable
from cde_retrievers.external.retries import DEFAULT_POLICY
from cde_retrievers.external.vector_cache import DEFAULT_MIB
from cde_retrievers.langchain.embeddings import ContextualEmbeddings


class WhitenedEmbeddings(ContextualEmbeddings):
    """Any embedding under the closed-form context of its corpus; otherwise a `ContextualEmbeddings`.

    Example:
        ```python
        embeddings = WhitenedEmbeddings(base=OpenAIEmbeddings(model="text-embedding-3-small")).fit(documents)
        store = InMemoryVectorStore.from_documents(documents, embeddings)
        embeddings.save_context("my_index/context")  # later: WhitenedEmbeddings(base=..., context_path=...)
        ```

    What `fit` pays for is not paid for again when the documents are indexed; what a context costs beyond that is one
    short text per object (see `WhitenedEmbedder`). A context is refused if the name has come to mean another model.

    Raises:
        ConfigurationError: the base has no name, or a setting is impossible.
    """

    base: Embeddings = Field(repr=False, exclude=True)
    """The embedding to use; give the same when a saved context is loaded."""
    model_name: str = Field(default="", alias="base_name")
    """The name of its model, if it does not say: its `model_name` or `model` by default."""
    power: float = DEFAULTS.power
    """The strength of whitening, from 0 (none) to 1."""
    shrinkage: float = DEFAULTS.shrinkage
    """The term added to each direction's variance, in units of their mean; more than 0."""
    batch_size: int = DEFAULT_POLICY.batch_size
    """Documents per call of the base."""
    retries: int = DEFAULT_POLICY.retries
    """Further attempts after a call of the base that failed."""
    wait: float = DEFAULT_POLICY.wait
    """Seconds before the first of them; each next wait is twice as long, a minute at most."""
    keep_mib: int = DEFAULT_MIB
    """Mebibytes of plain vectors that are kept in memory, of documents and of queries each."""

    # How a model is loaded is the base's own business: these settings are none here.
    variant: ClassVar[None] = None  # type: ignore[misc]
    device: ClassVar[str] = ""  # type: ignore[misc]
    dtype: ClassVar[str] = ""  # type: ignore[misc]
    cache_folder: ClassVar[None] = None  # type: ignore[misc]

    def model_post_init(self, context: Any, /) -> None:
        """Put the base under contexts, and load the one that is named."""
        if self.encoder is not None:
            raise ConfigurationError("the encoder is made from base here; leave encoder=... out")
        super().model_post_init(context)

    def _loader(self) -> Callable[[], Embedder]:
        return partial(
            _whitened,
            self.base,
            name_of_base(self.base, self.model_name),
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
        return {**self.model_dump(exclude={"context_path"}), "base": self.base}


def _whitened(base: Embeddings, name: str, **settings: Any) -> WhitenedEmbedder:
    """The base under contexts; a function, since it is pickled and a framework's wrapped methods cannot be."""
    return WhitenedEmbedder(name, base.embed_documents, base.embed_query, **settings)
