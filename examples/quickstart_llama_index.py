"""Contextual embeddings in LlamaIndex: fit a context on the nodes, build the index, ask, save, reload.

python examples/quickstart_llama_index.py [--modules os shutil ...]
"""

import tempfile

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode
from stdlib_corpus import QUESTIONS, chosen_entries

from cde_retrievers.llama_index import ContextualEmbedding, ContextualVectorStore


def main() -> None:
    """Answer every question from the standard library, then do it again from disk."""
    entries = chosen_entries(__doc__)
    for_people = ["name", "summary"]  # metadata that should not be embedded
    nodes = [
        TextNode(
            text=entry.text,
            metadata={"name": entry.name, "summary": entry.summary},
            excluded_embed_metadata_keys=for_people,
        )
        for entry in entries
    ]

    with tempfile.TemporaryDirectory() as folder:
        # The one line that is new: the context is fitted on the nodes before the index is built.
        embed_model = ContextualEmbedding("minilm", embed_batch_size=512).fit(nodes, show_progress=True)
        store = ContextualVectorStore(embed_model, f"{folder}/index")
        storage = StorageContext.from_defaults(vector_store=store)
        index = VectorStoreIndex(nodes, storage_context=storage, embed_model=embed_model, show_progress=True)
        print(f"\nLlamaIndex: {len(nodes)} nodes indexed under\n  {embed_model.context}\n")

        retriever = index.as_retriever(similarity_top_k=3)
        for question in QUESTIONS:
            print(question)
            for hit in retriever.retrieve(question):
                print(f"  {hit.score:.2f}  {hit.metadata['name']:38} {hit.metadata['summary'][:70]}")

        # The context travels with the index, and so does the name of the model. In another vector store, keep them
        # together with persist_index(index, embed_model, folder) and load_index(folder).
        store = ContextualVectorStore.open(f"{folder}/index")
        again = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
        best = again.as_retriever(similarity_top_k=1).retrieve(QUESTIONS[0])[0]
    print(f"\nReloaded from disk, the first question finds {best.metadata['name']}.")


if __name__ == "__main__":
    main()
