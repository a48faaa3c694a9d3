"""nDCG@10 of a model on judged corpora, each under a context of its own documents."""

from collections.abc import Sequence

from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.hits import Hits
from cde_retrievers.judged import DEPTH
from cde_retrievers.retrieval_set import RetrievalSet


def evaluate(encoder: ContextualEncoder, sets: Sequence[RetrievalSet]) -> dict[str, float]:
    """`ndcg@10`, the mean over the sets; and `NAME_ndcg@10` of each where there are several."""
    scores = {each.name: ndcg_at_10(encoder, each) for each in sets}
    named = {f"{name}_ndcg@10": score for name, score in scores.items()} if len(scores) > 1 else {}
    return {"ndcg@10": sum(scores.values()) / len(scores), **named}


def ndcg_at_10(encoder: ContextualEncoder, data: RetrievalSet) -> float:
    """Mean over the queries, by exact search over all documents."""
    context = encoder.fit_context(data.texts, show_progress=False)
    documents = encoder.encode_documents(data.texts, context, show_progress=False)
    queries = encoder.encode_queries(data.judged.queries.values(), context, show_progress=False)
    return data.judged.ndcg_at_10(Hits.of_vectors(documents, queries, DEPTH).run(data))
