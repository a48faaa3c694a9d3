"""Guards of LlamaIndex indexes: the context of an index is compared, and never mixed with another."""

from pathlib import Path

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from cde_retrievers.binding.check import ContextCheck
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.index.inspection import context_of_index
from cde_retrievers.index.reader import IndexReader
from cde_retrievers.llama_index.stores import known_stamps, stamps_in_directory, stamps_of, vector_store_of

Index = VectorStoreIndex | StorageContext | BasePydanticVectorStore | IndexReader | str | Path
"""An index, its storage context, its vector store, or the directory it was persisted in; a ContextualIndex."""


def check_index(index: Index, embed_model: ContextBoundMixin) -> ContextCheck:
    """Compare the context under which an index states it was built with the embedding's context.

    A persisted index has its context in its directory. A vector store states it by the stamps of its nodes, or by a
    `context_fingerprint` of its own. All nodes of a `SimpleVectorStore` are read, and a hundred of any other store,
    which is then asked for nodes of any other context, if it can filter so. One node of another context makes the
    result "another context"; else one without a stamp makes it "index carries no context".

    An embedding with `side="query"` accepts an index that states no context, or plain vectors of its model.

    Example:
        ```python
        check_index(index, embed_model).raise_if_different()  # names both fingerprints and the way out
        ```

    Raises:
        ConfigurationError: `index` is of another type.
        ContextNotFittedError: the embedding has no context.
        ContextFileError: there is no index in the directory, or a file of it is damaged.
    """
    yours = embed_model.stamp
    if isinstance(index, IndexReader):
        return ContextCheck(context_of_index(index), yours)
    if isinstance(index, str | Path):
        return ContextCheck.of_stamps(stamps_in_directory(Path(index)), yours)
    return ContextCheck.of_stamps(stamps_of(vector_store_of(index), embed_model.embedder, yours), yours)


def refuse_another_context(index: VectorStoreIndex, embed_model: ContextBoundMixin) -> bool:
    """Raise ContextMismatchError if the index states another context; its vector store is not queried.

    Returns:
        Whether it states the embedding's own. Many stores cannot state any.

    Raises:
        ContextNotFittedError: the embedding has no context.
        ContextMismatchError: the index embeds, or its nodes were embedded, under another context.
    """
    stamp = embed_model.stamp
    theirs = getattr(index, "_embed_model", None)
    if isinstance(theirs, ContextBoundMixin):
        theirs.check_context(stamp)
    check = ContextCheck.of_stamps(known_stamps(index.vector_store), stamp)
    check.raise_if_another()
    return check.theirs is not None


def refuse_to_mix(store: BasePydanticVectorStore, embed_model: ContextBoundMixin) -> None:
    """Refuse to add nodes to a vector store of another context.

    Raises:
        ContextMismatchError: the store states another context, or states one while the embedding has none yet.
    """
    stamps = stamps_of(store, embed_model.embedder)
    named = sorted(stamp for stamp in stamps if stamp is not None)
    if not named:
        return
    if not (embed_model.is_fitted or embed_model.documents_are_plain):
        raise ContextMismatchError(
            f"the vector store already holds nodes of context {named[0]}, but the embedding has no context yet; one "
            f"fitted on other nodes would not match them. Load the one that was saved with the index (context_path=...)"
        )
    check = ContextCheck.of_stamps(stamps, embed_model.stamp)
    if embed_model.documents_are_plain or check.verdict == "plain vectors":
        check.raise_if_another()
    elif check.verdict == "another context":
        raise ContextMismatchError(
            f"the vector store already holds nodes of context {check.theirs}, but new ones would be embedded under "
            f"{check.yours}, and the two cannot be compared; load the context that was saved with "
            f"the index, or put all documents into an empty vector store, with a document store of their own: "
            f"SimpleDocumentStore(namespace=docstore_namespace(embed_model))"
        )
