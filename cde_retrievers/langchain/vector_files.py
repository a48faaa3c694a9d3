"""An index for a vector store: opened, created empty or built, under the context of the store's embeddings."""

from collections.abc import Sequence
from pathlib import Path

from langchain_core.embeddings import Embeddings

from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.index.incoming_documents import DocumentValidator
from cde_retrievers.index.manifest import Kind
from cde_retrievers.index.store import IndexStore
from cde_retrievers.index.temporary import in_temporary_directory


def bound_to_context(embeddings: Embeddings) -> ContextBoundMixin:
    """The same object, if it embeds under a context.

    Raises:
        ConfigurationError: it does not.
    """
    if not isinstance(embeddings, ContextBoundMixin):
        raise ConfigurationError(
            f"this store keeps documents together with the context they were embedded under, but "
            f"{type(embeddings).__name__} has none; pass ContextualEmbeddings, or put a context around any other model "
            f"with WhitenedEmbeddings(base=...)"
        )
    return embeddings


def progress_of(embeddings: ContextBoundMixin) -> bool | None:
    """The progress bar setting of the embeddings: always, never, or (None) for long work on a terminal."""
    shown: bool | None = getattr(embeddings, "show_progress", None)  # a setting of those that show any
    return shown


def open_or_create(embeddings: ContextBoundMixin, path: str | Path | None, kind: Kind | None) -> ContextualIndex:
    """The index at `path`, or an empty one that is made there, or in a temporary directory if None.

    Raises:
        ConfigurationError: there is an index, of another kind than the one asked for.
        CDEError: as `ContextualIndex.create` and `ContextualIndex.open`.
    """
    context = embeddings.context
    if path is not None and IndexStore(Path(path)).is_served:
        index = ContextualIndex.open(path, embeddings.embedder)
        if kind not in (None, index.kind):
            raise ConfigurationError(f"the index in {path} is of kind {index.kind!r}, not {kind!r}; leave kind= out")
        return index

    def create(folder: Path) -> ContextualIndex:
        return ContextualIndex.create(embeddings.embedder, context, folder, kind=kind or "flat")

    return in_temporary_directory(create) if path is None else create(Path(path))


def build_index(
    documents: Sequence[Document],
    embeddings: ContextBoundMixin,
    path: str | Path | None,
    kind: Kind | None,
    batch_size: int,
) -> ContextualIndex:
    """A new index of documents, with nothing to open at `path` before all are embedded.

    Raises:
        CDEError: as `ContextualIndex.build`; about a document before any is embedded.
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
            show_progress=progress_of(embeddings),
        )

    return in_temporary_directory(build) if path is None else build(Path(path))
