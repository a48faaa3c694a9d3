"""Does the corpus' own context help, and does a foreign one? nDCG@10 on sub-corpora of the standard library.

python examples/compare_contexts.py [--topics email web files] [--documents 100]

A query is the first sentence of a docstring; the document to find is its function, with the docstring removed.
Every sub-corpus is embedded under its own context, under each other one's, and under none (the plain bi-encoder).
"""

import argparse
from dataclasses import dataclass

import ir_measures
import numpy as np
from ir_measures import nDCG
from stdlib_corpus import Entry, stdlib_entries

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.model.pretrained import minilm_folder

TOPICS = {
    "email": {"email", "mailbox", "smtplib", "imaplib", "poplib"},
    "web": {"http", "urllib", "socketserver", "wsgiref", "xmlrpc", "ftplib"},
    "files": {"os", "pathlib", "shutil", "tarfile", "zipfile", "gzip", "bz2", "posixpath", "fileinput", "tempfile"},
    "logging": {"logging"},
}
MEASURE = nDCG @ 10
_WORDS_OF_CODE = 40


@dataclass(frozen=True)
class KnownItems:
    """Queries and documents of a sub-corpus; query i is answered by document i."""

    queries: list[str]
    documents: list[str]


def known_items(entries: list[Entry], limit: int) -> KnownItems:
    """At most `limit` functions whose code says something without the docstring."""
    telling = [entry for entry in entries if len(entry.code.split()) >= 12][:limit]
    return KnownItems(
        [entry.summary for entry in telling], [" ".join(entry.code.split()[:_WORDS_OF_CODE]) for entry in telling]
    )


def ndcg_at_10(encoder: ContextualEncoder, items: KnownItems, context: CorpusContext) -> float:
    """Mean nDCG@10 in points, documents and queries embedded under `context`."""
    scores = encoder.encode_queries(items.queries, context) @ encoder.encode_documents(items.documents, context).T
    run = {str(q): {str(d): float(row[d]) for d in np.argsort(-row)[:10]} for q, row in enumerate(scores)}
    qrels = {str(i): {str(i): 1} for i in range(len(items.queries))}
    return 100 * float(ir_measures.calc_aggregate([MEASURE], qrels, run)[MEASURE])


def main() -> None:
    """Print the corpus-by-context table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", nargs="+", choices=TOPICS, default=["email", "web", "files"])
    parser.add_argument("--documents", type=int, default=100, help="functions per topic at most")
    arguments = parser.parse_args()

    encoder = ContextualEncoder.from_pretrained("minilm")
    plain = ContextualEncoder.from_biencoder(minilm_folder(), WhiteningConditioning(power=0))
    corpora = {topic: known_items(stdlib_entries(TOPICS[topic]), arguments.documents) for topic in arguments.topics}
    contexts = {topic: encoder.fit_context(items.documents) for topic, items in corpora.items()}

    print("\nnDCG@10 (points): rows are corpora, columns the corpus the context was fitted on")
    print(f"{'':18}" + "".join(f"{topic:>10}" for topic in contexts) + f"{'none':>10}")
    for topic, items in corpora.items():
        row = [ndcg_at_10(encoder, items, context) for context in contexts.values()]
        row.append(ndcg_at_10(plain, items, plain.fit_context(items.documents)))
        print(f"{topic:10}{len(items.documents):4} docs" + "".join(f"{value:10.1f}" for value in row))


if __name__ == "__main__":
    main()
