"""The three results of comparing the contexts of an index and its queries."""

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


@pytest.mark.parametrize(
    ("stamps", "verdict", "theirs"),
    [
        (set(), "index carries no context", None),
        ({None}, "index carries no context", None),
        ({"def", None}, "index carries no context", None),
        ({"def"}, "same context", "def"),
        ({"def", "xyz", "abc", None}, "another context", "abc"),
    ],
)
def test_one_document_of_another_context_decides_then_one_without(stamps, verdict, theirs):
    check = ContextCheck.of_stamps(stamps, "def")
    assert (check.verdict, check.theirs) == (verdict, theirs)


def test_an_index_that_states_no_context_can_be_let_through():
    ContextCheck(theirs=None, yours="def").raise_if_another()
    ContextCheck(theirs="def", yours="def").raise_if_another()
    with pytest.raises(ContextMismatchError, match="built under context abc"):
        ContextCheck(theirs="abc", yours="def").raise_if_another()


@pytest.mark.parametrize(
    ("theirs", "yours", "verdict", "message"),
    [
        (None, "plain-a", "index carries no context", None),
        ("plain-a", "plain-a", "plain vectors", None),
        ("plain-b", "plain-a", "plain vectors of another model", r"another model \(plain-b\) than yours \(plain-a\)"),
        ("abc", "plain-a", "another context", r"built under context abc.*need plain vectors.*side='both'"),
        ("plain-a", "abc", "plain vectors", r"holds plain vectors.*side='query'"),
    ],
)
def test_plain_vectors_meet_plain_vectors_of_the_same_model_only(theirs, yours, verdict, message):
    check = ContextCheck(theirs=theirs, yours=yours)
    assert check.verdict == verdict
    for require in (check.raise_if_different, check.raise_if_another):
        if message is None:
            require()
        else:
            with pytest.raises(ContextMismatchError, match=message):
                require()
