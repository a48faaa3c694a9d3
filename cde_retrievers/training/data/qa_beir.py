"""LlamaIndex's `EmbeddingQAFinetuneDataset` in memory, and written as a BEIR folder."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from cde_retrievers.corpora.decoding import open_text
from cde_retrievers.errors import TrainingDataError
from cde_retrievers.storage.atomic import atomic_directory
from cde_retrievers.training.data.qa_dataset import QADataset
from cde_retrievers.training.data.read import read_pairs

_PARTS = ("queries", "corpus", "relevant_docs")
_CORPUS_FILE = "corpus.jsonl"


@dataclass(slots=True)
class QAData:
    """Queries and the documents that answer them, checked; it has the interface of `QADataset`."""

    queries: Mapping[str, str]
    corpus: Mapping[str, str]
    relevant_docs: Mapping[str, list[str]]

    @classmethod
    def read(cls, dataset: Any) -> Self:
        """Read and check a data set or its JSON file.

        Raises:
            TrainingDataError: the data set is of another type, names unknown ids, or has an empty text.
        """
        if not isinstance(dataset, str | Path | QADataset):
            raise TrainingDataError(
                f"dataset must be a data set with {', '.join(_PARTS)} or the path of its JSON file, found "
                f"{type(dataset).__name__}; make one with generate_qa_embedding_pairs, or train on other pairs with "
                f"cde_retrievers.training.train"
            )
        read_pairs(dataset)  # for its checks
        if isinstance(dataset, str | Path):
            content = _json(Path(dataset))
            return cls(*(content[name] for name in _PARTS))
        return cls(*(getattr(dataset, name) for name in _PARTS))

    def first_documents(self) -> Self:
        """Return each query with only the first of its documents."""
        return replace(self, relevant_docs={query: [*found[:1]] for query, found in self.relevant_docs.items()})

    def write_beir(self, folder: Path) -> None:
        """Write a BEIR folder, whole or not at all.

        Raises:
            PathInUseError: something else is in `folder`.
        """
        with atomic_directory(folder, lambda older: (older / _CORPUS_FILE).is_file()) as directory:
            documents = ({"_id": id, "title": "", "text": text} for id, text in self.corpus.items())
            queries = ({"_id": id, "text": text} for id, text in self.queries.items())
            for name, rows in ((_CORPUS_FILE, documents), ("queries.jsonl", queries)):
                lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
                (directory / name).write_text("".join(lines), encoding="utf-8")
            (directory / "qrels").mkdir()
            with (directory / "qrels" / "test.tsv").open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, delimiter="\t")
                table.writerow(("query-id", "corpus-id", "score"))
                table.writerows((query, found, 1) for query, ids in self.relevant_docs.items() for found in ids)


def _json(path: Path) -> dict[str, Any]:
    if not path.name.lower().endswith((".json", ".json.gz")):
        raise TrainingDataError(
            f"{path} is not the JSON file of such a data set; save it with save_json(path) as .json, or train on other "
            f"pairs with cde_retrievers.training.train"
        )
    with open_text(path, "utf-8") as stream:
        content: dict[str, Any] = json.load(stream)
    return content
