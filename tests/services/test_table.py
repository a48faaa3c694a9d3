"""The table of stores in docs/stores.md says what the tests beside this one show."""

from pathlib import Path

import pytest
from served import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "stores.md"
RAN_ON = {"postgres": "PostgreSQL 18", "chroma": "`chroma run`", "milvus": "`milvus-lite server`", None: "in process"}


def row(kind):
    filtered = "none" if kind.filter_key is None else f"`{kind.filter_key}=`"
    again = "replaced" if kind.upserts else "doubled"
    moved = kind.refit or "none"
    cells = (kind.__name__, RAN_ON[kind.server], kind.carried, filtered, again, moved, kind.llama_index)
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("name", KINDS)
def test_a_row_is_what_the_tests_expect_of_the_store(name):
    assert row(KINDS[name]) in PAGE.read_text(encoding="utf-8").splitlines()
