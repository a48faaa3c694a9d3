"""Where LlamaIndex's vector stores keep a node: as JSON in its metadata, with the text there or beside them."""

import json
from dataclasses import dataclass

from llama_index.core.vector_stores.utils import metadata_dict_to_node

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.llama_index.vector_documents import CONTENT_FIELD, embedded_text
from cde_retrievers.stores.collection import Layout, Payload

_EXCLUDED = ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")


@dataclass(frozen=True, slots=True)
class NodeLayout(Layout):
    """Payloads of nodes.

    Attributes:
        metadata_key: key of the metadata; None if they are the payload.
        text_key: key of the text beside them; None if it is in the node's JSON.
    """

    metadata_key: str | None = None
    text_key: str | None = None

    def text(self, payload: Payload) -> str | None:
        """Return the text that LlamaIndex embeds, or None if the entry is not a node with its text."""
        text = None if self.text_key is None else payload.get(self.text_key)
        metadata = self._metadata(payload)
        if CONTENT_FIELD not in metadata or (text is None and self.text_key is not None):
            return None
        return embedded_text(metadata_dict_to_node(metadata, text))

    def stamped(self, payload: Payload, stamp: str) -> Payload:
        """Return the payload with the stamp in the metadata and in the node, whose embedded text stays the same."""
        metadata = {**self._metadata(payload), CONTEXT_KEY: stamp}
        if CONTENT_FIELD in metadata:
            node = json.loads(metadata[CONTENT_FIELD])
            node["metadata"] = {**node["metadata"], CONTEXT_KEY: stamp}
            for name in _EXCLUDED:
                node[name] = [*(key for key in node[name] if key != CONTEXT_KEY), CONTEXT_KEY]
            metadata[CONTENT_FIELD] = json.dumps(node, ensure_ascii=False)
        return metadata if self.metadata_key is None else {**payload, self.metadata_key: metadata}

    def _metadata(self, payload: Payload) -> Payload:
        return payload if self.metadata_key is None else payload.get(self.metadata_key) or {}
