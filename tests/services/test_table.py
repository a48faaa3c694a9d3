"""The table of stores in docs/stores.md says what the tests beside this one show."""

from pathlib import Path

from served import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "stores.md"
RAN_ON = {"postgres": "PostgreSQL 18", "chroma": "`chroma run`", "milvus": "`milvus-lite server`", None: "in process"}


HEAD = (
    "store",
    "tested on",
    "LangChain: the context is in",
    "filter",
    "hybrid by itself",
    "a batch added again",
    "refit",
    "LlamaIndex",
)


def row(kind):
    filtered = "none" if kind.filter_key is None else f"`{kind.filter_key}=`"
    again = "replaced" if kind.upserts else "doubled"
    moved, hybrid = kind.refit or "none", kind.hybrid or "none"
    return kind.__name__, RAN_ON[kind.server], kind.carried, filtered, hybrid, again, moved, kind.llama_index


def table():
    rows = [HEAD, ["---"] * len(HEAD), *map(row, KINDS.values())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows).replace(" --- ", "---")


def test_the_table_is_what_the_tests_expect_of_the_stores():
    assert f"\n\n{table()}\n\n" in PAGE.read_text(encoding="utf-8")
