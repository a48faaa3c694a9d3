"""The three answers of a look at an index."""

import pytest

from cde_retrievers.binding.check import ContextCheck
from cde_retrievers.errors import ContextMismatchError


def test_same_context_passes():
    check = ContextCheck(theirs="abc", yours="abc")
    assert str(check) == check.verdict == "same context"
    check.raise_if_different()


def test_another_context_is_refused_and_both_are_named():
    check = ContextCheck(theirs="abc", yours="def")
    assert str(check) == "another context (abc, yours is def)"
    with pytest.raises(ContextMismatchError, match=r"built under context abc.*under def"):
        check.raise_if_different()


def test_an_index_without_a_context_is_refused():
    check = ContextCheck(theirs=None, yours="def")
    assert str(check) == "index carries no context"
    with pytest.raises(ContextMismatchError, match=r"carries no context.*def"):
        check.raise_if_different()
