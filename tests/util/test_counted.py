"""Numbers of things in words."""

from cde_retrievers.util.counted import counted


def test_one_thing_and_more():
    assert [counted(1, "file"), counted(0, "file"), counted(2048, "file")] == ["1 file", "0 files", "2,048 files"]
    assert [counted(1, "judged query"), counted(3, "judged query")] == ["1 judged query", "3 judged queries"]
