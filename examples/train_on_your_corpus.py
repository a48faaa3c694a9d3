"""From documents to a better retriever: pairs, a look at them, a short training run, and a comparison.

Functions of the standard library are to be found by the first sentence of their docstring. Some modules are held out:
the model is trained on others, and searches in these.

python examples/train_on_your_corpus.py [--steps 8] [--modules os shutil ...] [--held-out csv zipfile ...]
"""

import argparse
import logging
import tempfile

from stdlib_corpus import Entry, stdlib_entries

from cde_retrievers import ContextualEncoder
from cde_retrievers.evaluation import RetrievalDataset, evaluate
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.training import Pair, TrainingConfig, TrainingPairs, train
from cde_retrievers.training.data.pair_statistics import describe_pairs

HELD_OUT = ["calendar", "csv", "glob", "statistics", "textwrap", "zipfile"]
QUESTION = "remove the common indentation from a text"
BATCH, MAX_LENGTH = 32, 64


def chosen_entries() -> tuple[list[Entry], list[Entry], int]:
    """What to train on, what is held out, and for how many steps to train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8, help="batches to train on")
    parser.add_argument("--modules", nargs="+", help="train on these modules of the standard library only")
    parser.add_argument("--held-out", nargs="+", default=HELD_OUT, help="search in these modules, not trained on")
    arguments = parser.parse_args()
    entries = stdlib_entries(set(arguments.modules) if arguments.modules else None)
    others = [entry for entry in entries if entry.module not in arguments.held_out]
    needed = max(1, arguments.steps) * BATCH
    chosen = others[:: max(1, len(others) // needed)][:needed]
    return chosen, stdlib_entries(set(arguments.held_out)), arguments.steps


def main() -> None:
    """Train on some modules, compare on others."""
    entries, held_out, steps = chosen_entries()

    # 1. Pairs of a query and the document that answers it. A domain is the corpus, or part of one, that a pair is from.
    pairs = TrainingPairs.of(Pair(entry.summary, entry.code, domain=entry.module) for entry in entries)

    # 2. A contextual model over MiniLM, which gives MiniLM's own embeddings until it is trained.
    encoder = ContextualEncoder.from_biencoder("minilm", "cached", max_length=MAX_LENGTH)
    print(describe_pairs(pairs, encoder, batch_size=BATCH))
    logging.getLogger("cde_retrievers").setLevel(logging.ERROR)  # the report has said which texts are cut

    # 3. Queries whose answers are known, in modules that are not trained on.
    queries = {entry.name: entry.summary for entry in held_out}
    corpus = {entry.name: entry.code for entry in held_out}
    data = RetrievalDataset.of(queries, corpus, relevant_docs={name: {name} for name in queries})
    before = evaluate(encoder, data)

    with tempfile.TemporaryDirectory() as folder:
        # 4. Each batch is drawn from a cluster of similar pairs: their documents are hard to tell apart.
        config = TrainingConfig(
            output_dir=f"{folder}/run",
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            learning_rate=2e-4,
            chunk_size=None,  # a batch this small is in memory at once, which saves computing it twice
        )
        result = train(encoder, pairs, config)
        after = evaluate(result.encoder, data)
        print(f"\nnDCG@10 in {len(held_out)} functions of modules held out:")
        print(f"  {before.mean().mean:.3f}  MiniLM")
        print(
            f"  {after.mean().mean:.3f}  trained for {steps} steps of {BATCH} pairs, under a context of these modules\n"
        )

        # 5. What was saved is a model like any other: load it, or give its path to an adapter or to a command.
        documents = [Document(entry.code, id=entry.name) for entry in held_out]
        encoder = ContextualEncoder.from_pretrained(result.model_path)
        index = ContextualIndex.build(documents, encoder, f"{folder}/index")
        print(QUESTION)
        for hit in index.search(QUESTION, k=3):
            print(f"  {hit.score:.2f}  {hit.id}")


if __name__ == "__main__":
    main()
