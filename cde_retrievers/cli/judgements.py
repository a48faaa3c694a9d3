"""Judged queries, checked before a model is loaded."""

from pathlib import Path

from cde_retrievers.corpora import judged_queries
from cde_retrievers.errors import CorpusFileError
from cde_retrievers.util.imports import require


class _AnyDocument:
    """Holds every id."""

    def __contains__(self, _: object) -> bool:
        return True


def check_judgements(folder: Path, split: str) -> None:
    """Read the judged queries of a folder, whichever documents they are of.

    Raises:
        CorpusFileError: they are missing, or not as they should be.
        MissingDependencyError: what measures with them is not installed.
    """
    require("ir_measures", "judged queries", extra="eval")
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise CorpusFileError(f"{folder} {found}; give a BEIR folder, with queries.jsonl and qrels/{split}.tsv")
    judged_queries(folder, _AnyDocument(), split)
