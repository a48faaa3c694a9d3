"""Embeddings of other libraries and paid services under a closed-form context. Import `WhitenedEmbedder` from here."""

from cde_retrievers.external.embedder import WhitenedEmbedder

__all__ = ["WhitenedEmbedder"]
