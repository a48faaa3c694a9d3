"""Where LangChain's stores keep the text and the metadata of a document."""

from dataclasses import dataclass
from typing import Any

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.stores.collection import Layout, Payload


@dataclass(frozen=True, slots=True)
class DocumentLayout(Layout):
    """Payloads with a text and a dictionary of metadata.

    Attributes:
        text_key: key of the text.
        metadata_key: key of the dictionary; None if there is none, so that documents carry no stamp.
    """

    text_key: str
    metadata_key: str | None

    def text(self, payload: Payload) -> str | None:
        """Return the text, or None if there is none."""
        found = payload.get(self.text_key)
        return found if isinstance(found, str) else None

    def stamped(self, payload: Payload, stamp: str) -> Payload:
        """Return the payload with the stamp in its metadata."""
        if self.metadata_key is None:
            return payload
        metadata: dict[str, Any] = payload.get(self.metadata_key) or {}
        return {**payload, self.metadata_key: {**metadata, CONTEXT_KEY: stamp}}


@dataclass(frozen=True, slots=True)
class FlatLayout(Layout):
    """Payloads in which the metadata stand beside the text.

    Attributes:
        text_key: key of the text.
    """

    text_key: str

    def text(self, payload: Payload) -> str | None:
        """Return the text, or None if there is none."""
        found = payload.get(self.text_key)
        return found if isinstance(found, str) else None

    def stamped(self, payload: Payload, stamp: str) -> Payload:
        """Return the payload with the stamp."""
        return {**payload, CONTEXT_KEY: stamp}
