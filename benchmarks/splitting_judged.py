"""Does splitting help to find documents by judged queries? Whole documents, LangChain's splitter and ours.

A document is found at the rank of its best part. "whole" are the documents as they come, of which the model reads the
first 256 tokens; "langchain" are parts of RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200), as in
LangChain's tutorials; "ours" are those of `split="headings"`, as long as the model reads. All texts of these sets are
one line, so the parts by words of release 0.1 would be the whole documents. All sets are for training; nothing was
chosen by these figures.

    python benchmarks/splitting_judged.py --data ../shared/data --out benchmarks/results/splitting_judged.json
    python benchmarks/splitting_judged.py --table benchmarks/results/splitting_judged.json
"""

import argparse
import json
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from beir import load_domains, load_set
from langchain_text_splitters import RecursiveCharacterTextSplitter

from cde_retrievers import ContextualEncoder
from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.corpora.token_count import TokenCount, token_count
from cde_retrievers.evaluation import Contextual, RetrievalDataset
from cde_retrievers.evaluation.metrics import Values, interval
from cde_retrievers.evaluation.precomputed import PrecomputedEmbedder
from cde_retrievers.evaluation.searchers import BiEncoder
from cde_retrievers.index import Document
from cde_retrievers.retrieval.judgements import JudgedQueries

DEPTH = 100  # parts a query, of which the ten best documents are judged
MEASURES = {"ndcg@10": "nDCG@10", "hit@1": "Success@1", "hit@10": "Success@10"}
WAYS = {"whole": "whole documents", "langchain": "LangChain, 1,000 characters", "ours": '`split="headings"`'}
ROWS = ("plain", "contextual", "BM25", "hybrid")


@dataclass(frozen=True)
class Selection:
    """The documents of a set that are searched.

    Attributes:
        name: of the set's folder.
        domains: whose documents; all if empty.
        documents: how many are drawn; all if None.
    """

    name: str
    domains: tuple[str, ...] = ()
    documents: int | None = None


SELECTIONS = (
    Selection("software-manuals", domains=("debian-handbook", "debian-policy", "developers-reference")),
    Selection("selqa", documents=400),
)


def selected(folder: Path, selection: Selection) -> tuple[dict[str, str], JudgedQueries]:
    """Return the documents of a selection by id, and the queries of all splits whose answers are all among them."""
    splits = [load_set(folder, path.stem) for path in sorted((folder / "qrels").glob("*.tsv"))]
    domains = load_domains(folder)
    texts = dict(zip(splits[0].document_ids, splits[0].documents, strict=True))
    ids = [each for each in texts if not selection.domains or domains[each] in selection.domains]
    if selection.documents is not None:
        ids = sorted(random.Random(0).sample(ids, selection.documents))
    kept = set(ids)
    queries, relevant = {}, {}
    for split in splits:
        for query, text in zip(split.query_ids, split.queries, strict=True):
            if split.qrels[query].keys() <= kept:
                queries[query], relevant[query] = text, split.qrels[query]
    return {each: texts[each] for each in ids}, JudgedQueries(queries, relevant)


def parts_of(texts: dict[str, str], encoder: ContextualEncoder) -> dict[str, list[Document]]:
    """Return the parts of the documents by the name of the splitter; `part_of` is the id of the whole."""
    langchain = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.jsonl"
        rows = (json.dumps({"id": identity, "text": text}) for identity, text in texts.items())
        path.write_text("\n".join(rows), encoding="utf-8")
        return {
            "whole": list(Corpus(path)),
            "langchain": list(Corpus(path, splitter=langchain)),
            "ours": list(Corpus(path, ReadOptions(split="headings"), tokens=encoder)),
        }


def found(data: RetrievalDataset, wholes: list[str], embedder: PrecomputedEmbedder) -> dict[str, dict[str, Values]]:
    """Search the parts in every way, and return each measure of every query (Q,), documents by their best part.

    Args:
        data: the parts, and queries judged by whole documents.
        wholes: the document of each part.
        embedder: of parts and queries.
    """
    searchers = {
        "plain": BiEncoder(embedder),
        "contextual": Contextual(embedder),
        "BM25": Contextual(embedder, mode="lexical"),
        "hybrid": Contextual(embedder, mode="hybrid"),
    }
    measured = {}
    for name, searcher in searchers.items():
        hits = searcher.search(data, DEPTH)
        run = {}
        for query, rows, scores in zip(data.judged.queries, hits.rows, hits.scores, strict=True):
            best = dict.fromkeys(wholes[row] for row, score in zip(rows, scores, strict=True) if score > -np.inf)
            run[query] = {document: -float(rank) for rank, document in enumerate(best)}
        measured[name] = data.judged.per_query(run, MEASURES)
    return measured


def compared(name: str, texts: dict[str, str], judged: JudgedQueries, encoder: ContextualEncoder) -> dict[str, Any]:
    """Return the measures of all ways of splitting, with those of the queries whose answer the model cuts."""
    tokens = token_count(encoder)
    cut = {
        identity for identity, size in zip(texts, tokens.sizes(list(texts.values())), strict=True) if _cut(size, tokens)
    }
    of_cut = np.array([bool(cut & relevant.keys()) for relevant in judged.relevant.values()])
    ways: dict[str, Any] = {}
    values: dict[str, dict[str, dict[str, Values]]] = {}
    embedder = None
    for way, parts in parts_of(texts, encoder).items():
        ids, contents = tuple(str(part.id) for part in parts), tuple(part.text for part in parts)
        data = RetrievalDataset(name, ids, contents, judged)
        embedder = embedder or PrecomputedEmbedder(encoder, data)  # what several ways have in common is embedded once
        values[way] = found(data, [str(part.metadata.get("part_of", part.id)) for part in parts], embedder)
        ways[way] = {
            "parts": len(parts),
            "cut": sum(_cut(size, tokens) for size in tokens.sizes(contents)),
            **{row: _summary(values[way][row], values["whole"][row], of_cut) for row in ROWS},
        }
        print(name, way, json.dumps(ways[way]), file=sys.stderr, flush=True)
    return {
        "set": name,
        "documents": len(texts),
        "queries": len(judged.queries),
        "queries_of_cut": int(of_cut.sum()),
        "ways": ways,
    }


def _cut(size: int, tokens: TokenCount) -> bool:
    return tokens.room is not None and size > tokens.room


def _summary(values: dict[str, Values], whole: dict[str, Values], of_cut: np.ndarray) -> dict[str, Any]:
    main = values["ndcg@10"]
    return {
        **{measure: round(float(found.mean()), 4) for measure, found in values.items()},
        "ndcg@10_of_cut": round(float(main[of_cut].mean()), 4),
        "gain": {end: round(value, 4) for end, value in interval([main - whole["ndcg@10"]]).to_dict().items()},
    }


def table(result: dict[str, Any]) -> str:
    """nDCG@10 of every way of splitting, and in brackets that of the queries whose answer is cut."""
    lines = [f"| documents | parts | {' | '.join(ROWS)} |", "|---" * (2 + len(ROWS)) + "|"]
    for data in result["sets"]:
        for way, label in WAYS.items():
            row = data["ways"][way]
            cells = (f"{row[name]['ndcg@10']:.3f} ({row[name]['ndcg@10_of_cut']:.3f})" for name in ROWS)
            lines.append(f"| {data['set']}, {label} | {row['parts']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the sets that are there, print and write; or print the table of a result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of BEIR sets")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--table", type=Path, help="print the table of this result instead")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text(encoding="utf-8"))))
        return
    if options.data is None:
        parser.error("--data or --table is needed")
    there = [each for each in SELECTIONS if (options.data / each.name).is_dir()]
    for missing in (each for each in SELECTIONS if each not in there):
        print(f"left out: {options.data / missing.name} does not exist", file=sys.stderr)
    if not there:
        parser.error(f"{options.data} has none of the sets; give the folder that they are in")
    encoder = ContextualEncoder.from_pretrained("minilm", "cpu", "float32")
    result: dict[str, Any] = {"model": "minilm", "sets": []}
    for selection in there:
        texts, judged = selected(options.data / selection.name, selection)
        result["sets"].append(compared(selection.name, texts, judged, encoder))
        if options.out:  # after every set, since one takes long
            options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
