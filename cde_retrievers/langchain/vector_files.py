"""Opening, creating and building the index of a vector store, under the context of its embeddings."""

from collections.abc import Sequence
from pathlib import Path

from langchain_core.embeddings import Embeddings

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.index.incoming_documents import DocumentValidator
from cde_retrievers.index.inspection import holds_index
from cde_retrievers.index.manifest import Kind
from cde_retrievers.index.temporary import in_temporary_directory
from cde_retrievers.langchain.embeddings import ContextBoundEmbeddings, ContextualEmbeddings


def bound_to_context(embeddings: Embeddings) -> ContextBoundEmbeddings:
    """Return the embeddings, or raise ConfigurationError unless they are bound to a context that acts on documents."""
    if not isinstance(embeddings, ContextBoundEmbeddings):
        raise ConfigurationError(
            f"this store keeps documents together with the context they were embedded under, but "
            f"{type(embeddings).__name__} has none; pass ContextualEmbeddings, or put a context around any other model "
            f"with WhitenedEmbeddings(base=...)"
        )
    embeddings.require_contextual_documents("ContextualVectorStore")
    return embeddings


def open_or_create_index(
    embeddings: ContextBoundEmbeddings, path: str | Path | None, kind: Kind | None
) -> ContextualIndex:
    """Open the index at `path`, or create one there, or in a temporary directory if `path` is None.

    Raises:
        ConfigurationError: the index at `path` is not of the given kind.
        CDEError: as `ContextualIndex.create` and `ContextualIndex.open`.
    """
    context = embeddings.context
    if path is not None and holds_index(path):
        index = ContextualIndex.open(path, embeddings.embedder)
        if kind not in (None, index.kind):
            raise ConfigurationError(f"the index in {path} is of kind {index.kind!r}, not {kind!r}; leave kind= out")
        return index

    def create(folder: Path) -> ContextualIndex:
        return ContextualIndex.create(embeddings.embedder, context, folder, kind=kind or "flat")

    return in_temporary_directory(create) if path is None else create(Path(path))


def open_index(
    path: str | Path, embeddings: ContextBoundEmbeddings | None, read_only: bool
) -> tuple[ContextBoundEmbeddings, ContextualIndex]:
    """Open the index at `path`, and return it after the embeddings under its context.

    Those are the given ones, a view of them if they have no context, or the model that the index names if None.

    Raises:
        CDEError: as `ContextualIndex.open`.
    """
    index = ContextualIndex.open(path, None if embeddings is None else embeddings.embedder, read_only=read_only)
    bound = ContextualEmbeddings(encoder=index.embedder) if embeddings is None else embeddings
    return (bound if bound.is_fitted else bound.with_context(index.context)), index


def build_index(
    documents: Sequence[Document],
    embeddings: ContextBoundEmbeddings,
    path: str | Path | None,
    kind: Kind | None,
    batch_size: int,
) -> ContextualIndex:
    """Build an index of documents; there is nothing to open at `path` before all are embedded.

    Raises:
        CDEError: as `ContextualIndex.build`; errors in a document come before any is embedded.
    """
    context = embeddings.context
    admitted = list(DocumentValidator().admit(documents))

    def build(folder: Path) -> ContextualIndex:
        return ContextualIndex.build(
            admitted,
            embeddings.embedder,
            folder,
            context=context,
            kind=kind or "flat",
            batch_size=batch_size,
            show_progress=embeddings.show_progress,
        )

    return in_temporary_directory(build) if path is None else build(Path(path))
