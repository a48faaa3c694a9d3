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
        more: further options, by name, as `add_argument` takes them; each is a path. A required one is not asked for
            where a table is printed.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="print this result as Markdown")
    ours = {
        "data": {"help": "folder of BEIR sets", "required": True},
        "output": {"help": "file that the result is written to", "required": True},
        **more,
    }
    for name, settings in ours.items():
        parser.add_argument(f"--{name}", type=Path, **{**settings, "required": False})
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return None
    missing = [name for name, settings in ours.items() if settings.get("required") and not getattr(arguments, name)]
    if missing:
        parser.error(f"give {', '.join(f'--{name}' for name in missing)}; or --table alone")
    if not arguments.output.parent.is_dir():
        parser.error(f"the folder of --output {arguments.output} does not exist")
    return arguments


def write_and_show(result: dict[str, Any], output: Path, table: Callable[[dict[str, Any]], str]) -> None:
    """Write a result, and print its table."""
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))
