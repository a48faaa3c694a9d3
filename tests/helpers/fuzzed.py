"""What the fuzz tests share: how many cases, what an index holds, and what a call may raise."""

import os
import re
from contextlib import contextmanager

import numpy as np
from bag_of_words import BagOfWords
from hypothesis import settings
from tiny import CORPUS

from cde_retrievers.errors import CDEError
from cde_retrievers.index import ContextualIndex, Document

TIMES = int(os.environ.get("CDE_FUZZ_TIMES", "1"))
DOCUMENTS = [
    Document(text, id=f"d{i}", metadata={"row": i, "half": i / 2, "tags": ["a", i % 3], "deep": {"even": i % 2 == 0}})
    for i, text in enumerate(CORPUS[:16])
]
_WRONG_ARGUMENTS = re.compile(r"unexpected keyword argument|missing \d+ required|positional argument|multiple values")


def cases(number: int, **options) -> settings:
    """So many cases in a run of the suite, and a multiple of that by `make fuzz`."""
    return settings(max_examples=number * TIMES, **options)


@contextmanager
def only_our_errors(*others: type[Exception]):
    """Let pass what a call may raise: errors of the library, of its signature, and `others`."""
    try:
        yield
    except (CDEError, *others):
        pass
    except TypeError as error:
        if not _WRONG_ARGUMENTS.search(str(error)):
            raise


def content_of(path) -> tuple[list[Document], np.ndarray, str]:
    """All that is in an index on disk: documents, their vectors, and the fingerprint of the context."""
    index = ContextualIndex.open(path, BagOfWords(), read_only=True)
    return list(index.documents()), index.vectors(index.ids()), index.context.fingerprint


def assert_same_content(path, before) -> None:
    documents, vectors, fingerprint = content_of(path)
    assert documents == before[0]
    np.testing.assert_array_equal(vectors, before[1])
    assert fingerprint == before[2]
