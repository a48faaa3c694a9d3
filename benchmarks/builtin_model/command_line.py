"""What the scripts here share: one form that runs, and one that prints the table of a result."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def options(
    description: str, table: Callable[[dict[str, Any]], str], **more: Mapping[str, Any]
) -> argparse.Namespace | None:
    """The options of a run; or None, after the table of a result was printed.

    Args:
        description: of the script.
        table: a result as text.
        more: further options, by name, as `add_argument` takes them; each is a path.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of BEIR sets")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--table", type=Path, help="print this result as Markdown")
    for name, settings in more.items():
        parser.add_argument(f"--{name}", type=Path, **settings)
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return None
    if None in (arguments.data, arguments.output):
        parser.error("give --data and --output, or --table")
    return arguments
