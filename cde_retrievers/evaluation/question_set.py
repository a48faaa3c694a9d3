"""A set of documents and questions of one's own, judged or still to be marked."""

from collections.abc import Iterable
from pathlib import Path

from cde_retrievers.corpora.questions import read_marks, read_questions
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.index.incoming_documents import require_collection
from cde_retrievers.retrieval.document import Document, checked_document
from cde_retrievers.retrieval.judgements import JudgedQueries
from cde_retrievers.validation.signatures import validated


@validated
def own_questions(
    documents: Iterable[str | Document],
    queries: str | Path,
    qrels: str | Path | None = None,
    *,
    name: str = "own questions",
) -> RetrievalDataset:
    """Make a retrieval set of documents and a file of questions.

    Questions are their own ids, so that lines can be added, removed and put in another order.

    Args:
        documents: texts, `Document`s, or a `Corpus`.
        queries: a text file, one question a line.
        qrels: what `cde_retrievers.report.marking_page` saved; questions without a marked answer are left out. None for
            a set that is still to be marked, and cannot be evaluated.
        name: of the set.

    Raises:
        CorpusFileError: a file cannot be read, holds no question or one twice, or marks nothing.
        EvaluationDataError: there are fewer than two different documents, or ids come twice.
        InvalidDocumentError: a document is neither a text nor a `Document`.
        InvalidTextError: a text is invalid.
    """
    require_collection(documents)
    questions = read_questions(queries)
    read = [checked_document(document, place) for place, document in enumerate(documents)]
    ids = tuple(f"document {place}" if each.id is None else each.id for place, each in enumerate(read))
    relevant = {question: {} for question in questions} if qrels is None else read_marks(qrels, questions, set(ids))
    left_out = len(questions) - len(relevant)
    note = f"{left_out} of {len(questions)} questions have no answer marked and are left out." if left_out else ""
    judged = JudgedQueries({question: question for question in relevant}, relevant)
    return RetrievalDataset(name, ids, tuple(document.text for document in read), judged, note)
