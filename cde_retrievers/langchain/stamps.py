"""Documents whose metadata say under which context they were embedded, for stores that can say nothing themselves."""

from collections.abc import Iterable

from langchain_core.documents import Document

from cde_retrievers.bound import BoundToContext
from cde_retrievers.errors import InvalidTextError
from cde_retrievers.verdict import CONTEXT_KEY


def stamped(documents: Iterable[Document], embeddings: BoundToContext) -> list[Document]:
    """Copies of the documents, with the context's fingerprint in their metadata under `CONTEXT_KEY`.

    Add these to the store in place of the documents; `context_filter` then finds those of one context only.

    Raises:
        ContextNotFittedError: there is no context yet.
        InvalidTextError: an item is no document.
    """
    fingerprint = embeddings.context.fingerprint
    return [_with_stamp(document, fingerprint) for document in documents]


def _with_stamp(document: Document, fingerprint: str) -> Document:
    if not isinstance(document, Document):
        raise InvalidTextError(
            f"a LangChain Document is needed to carry a context in its metadata, found {type(document).__name__}; "
            f"wrap texts: Document(page_content=text)"
        )
    return document.model_copy(update={"metadata": {**document.metadata, CONTEXT_KEY: fingerprint}})
