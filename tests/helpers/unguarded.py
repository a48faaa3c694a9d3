"""A contextual LlamaIndex embedding as one writes it first: the context is private state that nothing looks at.

Vectors are bags of words whose signs depend on the corpus, so vectors of two contexts cannot be compared: what
happens to an index then is the wrong thing that the guards are there for.
"""

import zlib

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import MetadataMode

WIDTH = 64


class UnguardedEmbedding(BaseEmbedding):
    """Fitted on nodes like ours, with nothing that keeps context and index together."""

    _signs: list = PrivateAttr(default_factory=lambda: [1.0] * WIDTH)

    def fit(self, nodes):
        corpus = "\n".join(node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes)
        self._signs = np.random.default_rng(_number(corpus)).choice([-1.0, 1.0], WIDTH).tolist()
        return self

    def _embed(self, text):
        bag = np.zeros(WIDTH)
        for word in text.split():
            bag += np.random.default_rng(_number(word)).standard_normal(WIDTH)
        signed = bag * self._signs
        return (signed / np.linalg.norm(signed)).tolist()

    def _get_text_embedding(self, text):
        return self._embed("document: " + text)

    def _get_query_embedding(self, query):
        return self._embed("query: " + query)

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)


def _number(text):
    return zlib.crc32(text.encode())
