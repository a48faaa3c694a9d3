"""Contextual embeddings in LangChain: fit a context on the documents, build the index, ask, save, reload.

python examples/quickstart_langchain.py [--modules os shutil ...]
"""

import tempfile

from langchain_core.documents import Document
from stdlib_corpus import QUESTIONS, chosen_entries

from cde_retrievers.langchain import ContextualEmbeddings, ContextualVectorStore


def main() -> None:
    """Answer every question from the standard library, then do it again from disk."""
    entries = chosen_entries(__doc__)
    documents = [Document(page_content=e.text, metadata={"name": e.name, "summary": e.summary}) for e in entries]

    with tempfile.TemporaryDirectory() as folder:
        # The one line that is new: the context is fitted on the corpus before the index is built.
        embeddings = ContextualEmbeddings(model="minilm", show_progress=True).fit(documents)
        store = ContextualVectorStore.from_documents(documents, embeddings, path=f"{folder}/index")
        print(f"\nLangChain: {len(documents)} documents indexed under\n  {embeddings.context}\n")

        for question in QUESTIONS:
            print(question)
            for document, score in store.similarity_search_with_score(question, k=3):
                print(f"  {score:.2f}  {document.metadata['name']:38} {document.metadata['summary'][:70]}")

        # The context travels with the index, and so does the name of the model. Any other LangChain store works too;
        # then save the context beside it: embeddings.save_context(...), ContextualEmbeddings(context_path=...).
        again = ContextualVectorStore.open(f"{folder}/index").similarity_search(QUESTIONS[0], k=1)
    print(f"\nReloaded from disk, the first question finds {again[0].metadata['name']}.")


if __name__ == "__main__":
    main()
