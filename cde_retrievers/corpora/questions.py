"""Questions of one's own: a text file of one question a line, and the judgements that were made of them."""

from collections.abc import Container
from pathlib import Path

from cde_retrievers.corpora.decoding import Lines, open_text
from cde_retrievers.corpora.paths import is_file
from cde_retrievers.corpora.qrels import judgements_of, relevant_documents
from cde_retrievers.corpora.read_options import ReadOptions
from cde_retrievers.errors import CorpusFileError, shown
from cde_retrievers.validation.paths import checked_path

_OTHER_FORMS = ("{", "[")


def read_questions(path: str | Path) -> tuple[str, ...]:
    """Return the questions of a file, one a line; empty lines are skipped.

    Raises:
        CorpusFileError: the file cannot be read, holds no question, one twice, or JSON; names the line.
    """
    path = _existing(path, "queries")
    lines_of: dict[str, int] = {}
    with open_text(path, ReadOptions().encoding) as stream:
        lines = Lines(stream, path, ReadOptions().record_limit)
        for line in lines:
            lines.begin_record()
            question = " ".join(line.split())
            if question.startswith(_OTHER_FORMS):
                raise CorpusFileError(
                    f"{path}:{lines.number} is {shown(question)}; give one question a line, as plain text"
                )
            if question in lines_of:
                raise CorpusFileError(
                    f"{path}:{lines.number} asks what line {lines_of[question]} asks already; remove one of them"
                )
            if question:
                lines_of[question] = lines.number
    if not lines_of:
        raise CorpusFileError(f"{path} holds no question; write one question a line")
    return tuple(lines_of)


def read_marks(path: str | Path, questions: tuple[str, ...], documents: Container[object]) -> dict[str, dict[str, int]]:
    """Return the judgements of questions that have an answer: grade by document id, by question.

    Args:
        path: of a file of judgements in which the questions are their own ids, as the page for marking saves it.
        questions: those that are asked; judgements of others are left out.
        documents: the ids that can be found; judgements of others are left out, and how many is logged.

    Raises:
        CorpusFileError: the file cannot be read, or marks no answer to any of the questions; names the row.
    """
    path = _existing(path, "qrels")
    of_these = (judgement for judgement in judgements_of(path) if judgement.query in questions)
    relevant = relevant_documents(of_these, documents, str(path), "marked for these questions")
    answered = {
        question: relevant[question]
        for question in questions
        if any(grade > 0 for grade in relevant.get(question, {}).values())
    }
    if not answered:
        raise CorpusFileError(f"{path} marks no answer to any of these questions; mark at least one, and save again")
    return answered


def check_questions(queries: str | Path, qrels: str | Path | None) -> None:
    """Read a file of questions, and one of judgements if there is one, so that faults are found before long work.

    Raises:
        CorpusFileError: as `read_questions` and `read_marks`, as far as no documents are needed for it.
    """
    read_questions(queries)
    if qrels is not None:
        for _ in judgements_of(_existing(qrels, "qrels")):
            pass


def _existing(path: str | Path, setting: str) -> Path:
    found = checked_path(path, setting)
    if not is_file(found):
        raise CorpusFileError(f"{found} does not exist, or is not a file; give {setting} as the path of a file")
    return found
