"""Documents, hits, judged queries and exact search. Import them from `cde_retrievers.index`."""
