"""Documents from files: folders of text or Markdown, JSONL, CSV, Parquet and BEIR folders, read as streams."""

from cde_retrievers.corpora.corpus import CheckedCorpus, Corpus
from cde_retrievers.corpora.incremental import CorpusSync
from cde_retrievers.corpora.qrels import judged_queries
from cde_retrievers.corpora.read_options import ReadOptions

__all__ = ["CheckedCorpus", "Corpus", "CorpusSync", "ReadOptions", "judged_queries"]
