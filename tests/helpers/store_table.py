"""The table of stores in docs/stores.md, of what the services tests show.

    python tests/helpers/store_table.py    writes the rows that the last whole runs of stores recorded

It is a plugin of pytest too: a test says by the fixture `shows` what it shows of a store, and counts if it passes.
"""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "stores.md"
RECORD = "store_table/shown"  # in pytest's cache
BEGIN, END = "<!-- written by `make store-table` -->\n", "\n<!-- end of the table -->"
FEATURES = (
    "tested on",
    "the context is in",
    "filter",
    "hybrid by itself",
    "a batch added again",
    "refit",
    "vectors of another width",
    "a server that is",
)
HEAD = ("store", "of", *FEATURES)
# One thing that is shown: store, framework, feature and text. The texts of a cell are in alphabetical order.
Shown = frozenset[tuple[str, str, str, str]]


def parts(page: str) -> tuple[str, str, str]:
    """The page before its table, the table, and the page after it."""
    before, begin, rest = page.partition(BEGIN)
    table, end, after = rest.partition(END)
    assert begin, f"the page has no line {BEGIN!r}"
    assert end, f"the page has no line {END!r}"
    return before + begin, table, end + after


def parsed(table: str) -> Shown:
    """What a table says."""
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    said = set()
    for store, framework, *cells in rows:
        for feature, cell in zip(head[2:], cells, strict=True):
            said |= {(store, framework, feature, text) for text in cell.split(", ") if text}
    return frozenset(said)


def stores_of(shown: Shown) -> set[tuple[str, str]]:
    """The stores of which something is shown, and their frameworks."""
    return {(store, framework) for store, framework, *_ in shown}


def written(shown: Shown) -> str:
    """A table of what is shown, a row for each store; what no test shows is an empty cell."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for store in sorted(stores_of(shown)):
        cells = (sorted(text for *place, text in shown if place == [*store, feature]) for feature in FEATURES)
        lines.append((*store, *map(", ".join, cells)))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def differences(said: Shown, shown: Shown, is_whole: bool) -> list[str]:
    """Where the table says less than what a run showed or, if that was whole, more of the stores that it met."""
    met = stores_of(shown)
    more = {each for each in said - shown if each[:2] in met} if is_whole else set()
    found = [("a test shows, and the table lacks", shown - said), ("no test shows, but the table says", more)]
    return [f"{what}: {' | '.join(each)}" for what, those in found for each in sorted(those)]


def renewed(before: Shown, shown: Shown) -> Shown:
    """What is shown of the stores that a whole run met, and what was known of the others before."""
    return shown | {each for each in before if each[:2] not in stores_of(shown)}


class Recorder:
    """A plugin of pytest that gathers what passing tests show, and fails a run that the table does not agree with."""

    def __init__(self, config):
        self.config, self.shown, self.differences = config, frozenset(), []
        self.is_whole = config.getoption("whole_stores", False)

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            self.shown |= {tuple(value) for name, value in report.user_properties if name == "shows"}

    def pytest_sessionfinish(self, session, exitstatus):
        if exitstatus not in (0, 1) or not self.shown:
            return
        said = parsed(parts(PAGE.read_text(encoding="utf-8"))[1])
        self.differences = differences(said, self.shown, self.is_whole)
        if self.differences:
            session.exitstatus = 1
        if self.is_whole:
            before = frozenset(map(tuple, self.config.cache.get(RECORD, [])))
            self.config.cache.set(RECORD, sorted(renewed(before, self.shown)))

    def pytest_terminal_summary(self, terminalreporter):
        if self.differences:
            terminalreporter.section("docs/stores.md does not say what was shown; after a whole run: make store-table")
            for line in self.differences:
                terminalreporter.line(line)


def pytest_addoption(parser):
    parser.addoption("--whole-stores", action="store_true", help="every test of the stores that are met is run")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # reports of all workers come together in the process that started them
        config.pluginmanager.register(Recorder(config))


@pytest.fixture
def shows(record_property):
    """Says what a test shows of a store, or of its class."""

    def show(service, feature, text):
        kind = service if isinstance(service, type) else type(service)
        record_property("shows", [kind.__name__, kind.framework, feature, text])

    return show


def main() -> None:
    """Write what is recorded into the page."""
    recorded = frozenset(map(tuple, json.loads((ROOT / ".pytest_cache" / "v" / RECORD).read_text(encoding="utf-8"))))
    before, table, after = parts(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(before + written(renewed(parsed(table), recorded)) + after, encoding="utf-8")


if __name__ == "__main__":
    main()
