"""Documents that wait in a temporary file."""

import errno
from io import BytesIO

import pytest

from cde_retrievers.corpora.document_spool import DocumentSpool
from cde_retrievers.errors import WriteError
from cde_retrievers.retrieval.document import Document

DOCUMENTS = [
    Document("two\nlines\r\u2028 and \U0001f375", "a\nb", {"n": 1, "is": True, "deep": {"x": [None, 1.5]}}),
    Document("tea", "t"),
]


@pytest.mark.parametrize("in_memory", [1 << 20, 1])
def test_documents_come_back_as_they_were_any_number_of_times(monkeypatch, in_memory):
    monkeypatch.setattr("cde_retrievers.corpora.document_spool._IN_MEMORY", in_memory)
    spool = DocumentSpool()
    assert (len(spool), list(spool)) == (0, [])
    for document in DOCUMENTS:
        spool.append(document)
    assert len(spool) == 2
    assert list(spool) == list(spool) == DOCUMENTS


def test_a_full_temporary_directory_is_named(monkeypatch):
    class Full(BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cde_retrievers.corpora.document_spool.SpooledTemporaryFile", lambda size: Full())
    with pytest.raises(WriteError, match=r"temporary directory .*No space left.*TMPDIR"):
        DocumentSpool().append(DOCUMENTS[0])
