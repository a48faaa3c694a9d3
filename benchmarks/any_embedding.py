"""A context over somebody else's embedding, through the LangChain adapter: LangChain's own MiniLM with and without it.

    python benchmarks/any_embedding.py --data ../shared/data --output benchmarks/results/any_embedding.json

Needs langchain-huggingface. `texts_paid` counts what the base embeds for the index: the documents and one probe.
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from beir import RetrievalDataset, load_set, ndcg_at_10
from langchain_core.embeddings import Embeddings
from langchain_huggingface import HuggingFaceEmbeddings

from cde_retrievers.langchain import WhitenedEmbeddings
from cde_retrievers.model.pretrained import minilm_folder

SETS = ("adi", "cisi")


class Counted(Embeddings):
    """A base that counts the documents it embeds."""

    def __init__(self, base: Embeddings) -> None:
        self.base = base
        self.texts = 0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """As the base."""
        self.texts += len(texts)
        return self.base.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        """As the base."""
        return self.base.embed_query(text)


def score(data: RetrievalDataset, embeddings: Embeddings) -> float:
    """nDCG@10 of a set, embedded as a vector store would."""
    documents = np.array(embeddings.embed_documents(data.documents), dtype=np.float32)
    queries = np.array([embeddings.embed_query(query) for query in data.queries], dtype=np.float32)
    return ndcg_at_10(data, documents, queries)


def evaluate(data: RetrievalDataset, base: Embeddings) -> dict[str, object]:
    """Both scores of one set, and what they cost."""
    counted = Counted(base)
    contextualized = WhitenedEmbeddings(base=counted, base_name="all-MiniLM-L6-v2").fit(data.documents)
    after = score(data, contextualized)
    return {
        "set": data.name,
        "documents": len(data.documents),
        "distinct_documents": len(set(data.documents)),
        "queries": len(data.queries),
        "texts_paid": counted.texts,
        "plain": score(data, base),
        "contextualized": after,
    }


def table(result: dict[str, Any]) -> str:
    """Both scores of every set, and what they cost."""
    lines = ["| set | plain | under its context | texts paid for |", "|---" * 4 + "|"]
    for row in result["sets"]:
        distinct = "" if row["distinct_documents"] == row["documents"] else "distinct "
        paid = f"{row['texts_paid']:,} for {row['distinct_documents']:,} {distinct}documents"
        lines.append(f"| {row['set']} | {row['plain']:.3f} | {row['contextualized']:.3f} | {paid} |")
    return "\n".join(lines)


def main() -> None:
    """Run the sets and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR sets")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    base = HuggingFaceEmbeddings(model_name=str(minilm_folder()), model_kwargs={"device": "cpu"})
    rows = [evaluate(load_set(arguments.data / name), base) for name in SETS]
    packages = {name: version(name) for name in ("langchain-huggingface", "sentence-transformers", "torch", "numpy")}
    result = {"command": "python benchmarks/any_embedding.py --data ../shared/data", "packages": packages, "sets": rows}
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
