"""What the built-in model was trained on in trials, and what was kept out to choose settings by.

The sets kept out are among the 16 by which the closed form's power was chosen, which favours the closed form on them.
Sets whose licence is for research only (wikiqa, trecqa) and medquad, which shares documents with an evaluation set, are
left out. So is every pair whose query or document, but for case and spaces, is in an evaluation or held-out set.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cde_retrievers.evaluation import RetrievalDataset
from cde_retrievers.retrieval.judgements import JudgedQueries
from cde_retrievers.training import Pair, TrainingPairs, read_pairs

EVALUATION = (
    *("scifact", "cranfield", "cisi", "med", "cosqa", "medquad-liveqa", "stackexchange-coffee", "xquad-en", "adi"),
)
HELD_OUT = ("selqa", "covid-faq", "stackexchange-ai", "stackexchange-matheducators", "conala")
NATURAL = (
    *("narrativeqa", "squad-train-part", "nl2bash", "boolq", "tat-qa", "natural-questions", "strategyqa", "multihop"),
    "entailment-bank",
)
OTHER = (
    *("software-manuals", "python-docstrings", "debian-packages", "wordnet-glosses", "tldr-commands", "dc-law"),
    *("computing-dictionaries", "scitldr", "python-peps", "powershell-docs", "security-advisories", "openstax-ccby"),
    *("stackexchange-beer", "stackexchange-genai"),
)
# What the settings of hybrid search are chosen by: every set of people's questions, and other whole domains.
QUESTIONS = (*NATURAL, *HELD_OUT, "stackexchange-beer", "stackexchange-genai")
DOMAINS = (
    *("software-manuals", "python-docstrings", "powershell-docs", "tldr-commands", "security-advisories", "dc-law"),
    *("debian-packages", "wordnet-glosses", "openstax-ccby", "computing-dictionaries"),
)
SEVEN = ("scifact", "cranfield", "cisi", "med", "cosqa", "stackexchange-coffee", "medquad-liveqa")
IN_DOMAIN = ("squad-train-part", "natural-questions", "nl2bash", "tat-qa")


def training_pairs(
    data: Path, of_each: int, seed: int, names: Sequence[str] = NATURAL
) -> tuple[TrainingPairs, dict[str, dict[str, int]]]:
    """At most so many pairs of each set, drawn at random; and how many there were, were dropped for an evaluation or
    held-out text, and were taken. Each set is one domain: most of their own are tiny.
    """
    known = _texts_of(data / name for name in (*EVALUATION, *HELD_OUT))
    pairs: list[Pair] = []
    counts = {}
    for name in names:
        there = list(read_pairs(data / name))
        clean = [pair for pair in there if not {_plain(pair.query), _plain(pair.positive)} & known]
        rows = sorted(np.random.default_rng(seed).permutation(len(clean))[:of_each].tolist())
        counts[name] = {"pairs": len(there), "dropped": len(there) - len(clean), "taken": len(rows)}
        pairs += [replace(clean[row], domain=name) for row in rows]
    return TrainingPairs.of(pairs), counts


def searched_sets(data: Path, search: dict[str, Any]) -> dict[str, list[RetrievalDataset]]:
    """The groups of sets that a recipe's table `search` asks for: "held out", "in domain" and "evaluation"."""
    groups = {"held out": held_out_sets, "in domain": in_domain_sets, "evaluation": evaluation_sets}
    return {name: list(groups[name](data, **search[name])) for name in search}


def evaluation_sets(data: Path) -> Iterator[RetrievalDataset]:
    """The seven whose mean is aimed at."""
    return (RetrievalDataset.read(data / name) for name in SEVEN)


def held_out_sets(data: Path, queries: int | None = None, documents: int | None = None) -> Iterator[RetrievalDataset]:
    """The held-out sets, whole or a part of each: some queries, what answers them, and other documents at random."""
    for name in HELD_OUT:
        yield _part_of(RetrievalDataset.read(data / name, "train"), queries, documents)


def in_domain_sets(data: Path, queries: int, documents: int) -> Iterator[RetrievalDataset]:
    """A part of each of the larger sets trained on, with queries that were not."""
    for name in IN_DOMAIN:
        yield _part_of(RetrievalDataset.read(data / name, "test"), queries, documents)


def choosing_sets(data: Path, queries: int, documents: int) -> Iterator[RetrievalDataset]:
    """A part of each set that settings are chosen by: its test split where it has one, without evaluation texts."""
    known = _texts_of(data / name for name in EVALUATION)
    for name in (*QUESTIONS, *DOMAINS):
        split = "test" if (data / name / "qrels" / "test.tsv").exists() else "train"
        yield _part_of(_without(RetrievalDataset.read(data / name, split), known), queries, documents)


def _without(data: RetrievalDataset, known: set[str]) -> RetrievalDataset:
    """The set without those documents and queries, and without queries that nothing answers any more."""
    kept = {name: text for name, text in zip(data.ids, data.texts, strict=True) if _plain(text) not in known}
    relevant = {
        query: {document: grade for document, grade in grades.items() if document in kept}
        for query, grades in data.judged.relevant.items()
        if _plain(data.judged.queries[query]) not in known
    }
    relevant = {query: grades for query, grades in relevant.items() if grades}
    judged = JudgedQueries({query: data.judged.queries[query] for query in relevant}, relevant)
    return RetrievalDataset(data.name, tuple(kept), tuple(kept.values()), judged)


def _part_of(data: RetrievalDataset, queries: int | None, documents: int | None) -> RetrievalDataset:
    rng = np.random.default_rng(0)
    chosen = sorted(rng.permutation(list(data.judged.queries))[:queries].tolist())
    relevant = {query: data.judged.relevant[query] for query in chosen}
    needed = {document for grades in relevant.values() for document in grades}
    order = sorted(rng.permutation(len(data.ids)).tolist(), key=lambda place: data.ids[place] not in needed)
    kept = sorted(order[: max(documents or len(order), len(needed))])
    judged = JudgedQueries({query: data.judged.queries[query] for query in chosen}, relevant)
    return RetrievalDataset(data.name, tuple(data.ids[i] for i in kept), tuple(data.texts[i] for i in kept), judged)


def _texts_of(folders: Iterable[Path]) -> set[str]:
    """Every query and document of these sets, whatever the split."""
    texts: set[str] = set()
    for folder in folders:
        for split in sorted(path.stem for path in (folder / "qrels").glob("*.tsv")):
            found = RetrievalDataset.read(folder, split)
            texts.update(map(_plain, (*found.texts, *found.judged.queries.values())))
    return texts


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
