"""Does the corpus' own context help, and does a foreign one? nDCG@10 on sub-corpora of the standard library.

python examples/compare_contexts.py [--topics email web files] [--documents 100]

A query is the first sentence of a docstring; the document to find is its function, with the docstring removed.
Every sub-corpus is searched under its own context, under each other one's, and under none (the plain bi-encoder). Then
come, side by side, the queries for which the own context changed most.
"""

import argparse

import numpy as np
from stdlib_corpus import Entry, stdlib_entries

from cde_retrievers import ContextualEncoder
from cde_retrievers.evaluation import ContextMatrix, RetrievalDataset, context_matrix

TOPICS = {
    "email": {"email", "mailbox", "smtplib", "imaplib", "poplib"},
    "web": {"http", "urllib", "socketserver", "wsgiref", "xmlrpc", "ftplib"},
    "files": {"os", "pathlib", "shutil", "tarfile", "zipfile", "gzip", "bz2", "posixpath", "fileinput", "tempfile"},
    "logging": {"logging"},
}
_WORDS_OF_CODE = 40
_SHOWN = 3  # queries won, and as many lost


def known_items(topic: str, entries: list[Entry], limit: int) -> RetrievalDataset:
    """At most `limit` functions whose code says something without the docstring, each asked for by its summary."""
    telling = {entry.name: entry for entry in entries if len(entry.code.split()) >= 12}
    chosen = dict(list(telling.items())[:limit])
    return RetrievalDataset.of(
        queries={name: entry.summary for name, entry in chosen.items()},
        corpus={name: " ".join(entry.code.split()[:_WORDS_OF_CODE]) for name, entry in chosen.items()},
        relevant_docs={name: {name} for name in chosen},
        name=topic,
    )


def print_table(matrix: ContextMatrix) -> None:
    """nDCG@10 of each corpus under each context, and under none."""
    print("\nnDCG@10 (points): rows are corpora, columns the corpus the context was fitted on")
    print(f"{'':18}" + "".join(f"{name:>10}" for name in (*matrix.names, "none")))
    for row, none in zip(matrix.evaluations, matrix.without, strict=True):
        figures = "".join(f"{100 * cell.mean().mean:10.1f}" for cell in (*row, none))
        print(f"{none.data:10}{none.documents:4} docs" + figures)


def print_changes(matrix: ContextMatrix, sets: list[RetrievalDataset]) -> None:
    """What was found first with the own context and without, where that made the most difference."""
    changes = []
    for place, data in enumerate(sets):
        own, none = matrix.evaluations[place][place], matrix.without[place]
        gains = own.differences(none)
        asked = zip(gains, own.queries, own.best, none.best, strict=True)
        changes += [(gain, data.judged.queries[name], name, a[0], b[0]) for gain, name, a, b in asked]
    changes.sort(key=lambda change: -change[0])
    won = [change for change in changes if change[0] > 0][:_SHOWN]
    lost = [change for change in reversed(changes) if change[0] < 0][:_SHOWN]
    for title, shown in (("Most won", won), ("Most lost", lost)):
        if not shown:
            continue
        print(f"\n{title} by the own context: what is found first with it | without it (* is right)")
        for _, query, wanted, found, before in shown:
            marked = [f"{name} *" if name == wanted else name for name in (found, before)]
            print(f"  {query}\n    {' | '.join(marked)}")


def main() -> None:
    """Search every corpus under every context."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", nargs="+", choices=TOPICS, default=["email", "web", "files"])
    parser.add_argument("--documents", type=int, default=100, help="functions per topic at most")
    arguments = parser.parse_args()

    sets = [known_items(topic, stdlib_entries(TOPICS[topic]), arguments.documents) for topic in arguments.topics]
    matrix = context_matrix(ContextualEncoder.from_pretrained("minilm"), sets)
    print_table(matrix)
    own = np.diag([[cell.mean().mean for cell in row] for row in matrix.evaluations])
    gain = 100 * (own.mean() - np.mean([none.mean().mean for none in matrix.without]))
    print(f"The own context gains {gain:+.1f} points on none, on the mean of these corpora.")
    print_changes(matrix, sets)


if __name__ == "__main__":
    main()
