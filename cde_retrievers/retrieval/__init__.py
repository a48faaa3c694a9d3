"""The nouns of retrieval: documents, hits, judged queries, exact search. Import them from `cde_retrievers.index`."""
