"""Documents from files: folders of text or Markdown, JSONL, CSV, Parquet and BEIR folders, read as streams."""

from cde_retrievers.corpora.changes import Changes
from cde_retrievers.corpora.corpus import CheckedCorpus, Corpus
from cde_retrievers.corpora.judgements import judged_queries
from cde_retrievers.corpora.reading import Reading

__all__ = ["Changes", "CheckedCorpus", "Corpus", "Reading", "judged_queries"]
