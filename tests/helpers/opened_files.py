"""How often files are opened, by any code in this process."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def counted_opens() -> Iterator[Counter[str]]:
    """Count how often each file is opened in the block, by path."""
    counted: Counter[str] = Counter()
    is_counting = [True]

    def count(event: str, arguments: tuple[object, ...]) -> None:
        # `os.open` for an opener is the second half of one `open`, and says no mode.
        if event == "open" and is_counting and isinstance(arguments[0], str | Path) and arguments[1] is not None:
            counted[str(arguments[0])] += 1

    sys.addaudithook(count)  # cannot be taken away again
    try:
        yield counted
    finally:
        is_counting.clear()
