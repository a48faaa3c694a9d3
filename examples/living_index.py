"""An index that lives: built, searched, moved, added to, checked for drift, refitted, while readers go on reading.

python examples/living_index.py [--documents 300]
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from stdlib_corpus import stdlib_entries

from cde_retrievers import ContextualEncoder, drift
from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.langchain import ContextualEmbeddings, ContextualVectorStore

FILES = {
    "os",
    "shutil",
    "pathlib",
    "glob",
    "tempfile",
    "zipfile",
    "tarfile",
    "gzip",
    "csv",
    "json",
    "pickle",
    "sqlite3",
}
NETWORK = {"socket", "ssl", "ftplib", "smtplib", "poplib", "http", "urllib", "socketserver", "selectors", "xmlrpc"}
DRAWING = {"turtle", "tkinter"}
QUESTION = "how do I walk a directory tree?"


def documents_of(modules: set[str], limit: int) -> list[Document]:
    """Up to `limit` documented functions and classes, spread over the modules."""
    entries = stdlib_entries(modules)
    chosen = entries[:: max(1, len(entries) // limit)][:limit]
    return [Document(entry.text, id=entry.name, metadata={"module": entry.module}) for entry in chosen]


def show(index: ContextualIndex, question: str, **options: object) -> None:
    """Print the best three hits."""
    print(question)
    for hit in index.search(question, k=3, **options):
        print(f"  {hit.score:.2f}  {hit.id}")


def main() -> None:
    """Go through the life of one index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=300, help="of each kind")
    limit = parser.parse_args().documents
    known = documents_of(FILES | NETWORK, 2 * limit)
    first, later = known[::2], known[1::2]
    encoder = ContextualEncoder.from_pretrained("minilm")

    with tempfile.TemporaryDirectory() as folder:
        # 1. Build: the context is fitted on the documents and lies beside them. Killed half-way, the call goes on.
        path = Path(folder) / "index"
        index = ContextualIndex.build(first, encoder, path, show_progress=True)
        print(f"\nBuilt {len(index)} documents under {index.context}\n")
        show(index, QUESTION)
        show(index, "send a message to a server", filter={"module": {"$in": ["smtplib", "socket"]}})

        # 2. Move it, and open it without saying which model or context it needs.
        moved = shutil.move(path, Path(folder) / "moved")
        index = ContextualIndex.open(moved)
        reader = ContextualIndex.open(moved, encoder, read_only=True)

        # 3. Another context is an error, not a bad result.
        foreign = ContextualEmbeddings(encoder=encoder).fit([document.text for document in later])
        try:
            ContextualVectorStore(foreign, index=index)
        except ContextMismatchError as error:
            print(f"\nUnder another context: {error}\n")

        # 4. Add, replace, delete. Who has it open keeps what it opened until it asks for more.
        index.add(later)
        index.upsert([Document("os.walk: generate the file names in a directory tree.", id="os.walk")])
        index.delete([first[0].id or ""])
        print(f"Now {len(index)} documents in generation {index.generation}; the reader still sees {len(reader)}.")
        reader.refresh()
        print(f"After refresh() it sees {len(reader)}.\n")

        # 5. Does the context still fit what comes in?
        drawing = documents_of(DRAWING, limit)
        print(f"More of the same\n{drift.measure(index.context, [d.text for d in later], encoder)}\n")
        print(f"Another subject\n{drift.measure(index.context, [d.text for d in drawing], encoder)}\n")

        # 6. Refit: the next generation is built beside the one that is served.
        index.add(drawing)
        print(index.refit(show_progress=True))
        show(index, "draw a circle")


if __name__ == "__main__":
    main()
