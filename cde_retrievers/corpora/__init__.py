"""Documents from files: folders of text or Markdown, JSONL, CSV, Parquet and BEIR folders, read as streams."""

from cde_retrievers.corpora.corpus import CheckedCorpus, Corpus
from cde_retrievers.corpora.options import Reading
from cde_retrievers.corpora.qrels import judged_queries
from cde_retrievers.corpora.sync import Changes

__all__ = ["Changes", "CheckedCorpus", "Corpus", "Reading", "judged_queries"]
