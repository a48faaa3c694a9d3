"""A LlamaIndex vector store that keeps texts and vectors itself, like a database, and answers queries with nodes."""

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.vector_stores import VectorStoreQueryResult
from llama_index.core.vector_stores.types import BasePydanticVectorStore


class RemoteStore(BasePydanticVectorStore):
    """Finds its first nodes for every query."""

    stores_text: bool = True
    _nodes: list = PrivateAttr(default_factory=list)

    @property
    def client(self):
        return None

    def add(self, nodes, **options):
        self._nodes += nodes
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id, **options):
        raise AssertionError("no test deletes")

    def query(self, query, **options):
        assert all(len(node.embedding) == len(query.query_embedding) for node in self._nodes)
        found = self._nodes[: query.similarity_top_k]
        return VectorStoreQueryResult(nodes=found, similarities=[1.0] * len(found), ids=[n.node_id for n in found])
