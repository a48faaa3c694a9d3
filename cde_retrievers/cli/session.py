"""What surrounds every command: answers on stdout, everything else on stderr, errors in one line, Ctrl-C in order."""

import json
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from cde_retrievers.cli.options import OutputOptions
from cde_retrievers.errors import CDEError

ERROR, ANOTHER, INTERRUPTED = 1, 3, 130
"""Exit codes: something was wrong; the answer is one that a script should notice; Ctrl-C."""


class Session:
    """One run of a command.

    Attributes:
        if_interrupted: says, when Ctrl-C comes, what is kept and how to go on.
        way_out: what to do on the command line about kinds of errors whose messages speak of Python.
    """

    def __init__(self, options: OutputOptions) -> None:
        self._options = options
        self._stdout = Console(highlight=False)
        self._stderr = Console(stderr=True, highlight=False)
        self.if_interrupted: Callable[[], str] = lambda: "Nothing was changed."
        self.way_out: Mapping[type[CDEError], str] = {}

    @property
    def show_progress(self) -> bool | None:
        """As the library's functions take it."""
        return self._options.progress

    def say(self, message: str, style: str = "") -> None:
        """One line for people, on stderr."""
        self._stderr.print(Text(message, style=style), soft_wrap=True)

    def warn(self, message: str) -> None:
        """One line that should not be missed."""
        self._stderr.print(Text.assemble(("warning: ", "yellow"), message), soft_wrap=True)

    def answer(self, data: Mapping[str, Any], *lines: RenderableType) -> None:
        """The result, on stdout: as JSON if that was asked for, else in lines for people."""
        if self._options.as_json:
            typer.echo(json.dumps(data, ensure_ascii=False))
            return
        for line in lines:
            self._stdout.print(line, markup=False, soft_wrap=isinstance(line, str))

    def fail(self, error: Exception) -> None:
        """Say what went wrong in one line."""
        if self._options.verbose:
            self.say("".join(traceback.format_exception(error)).rstrip(), style="dim")
        message = " ".join(str(error).split())
        for kind, way_out in self.way_out.items():
            if isinstance(error, kind):
                message += f" (on the command line: {way_out})"
        self._stderr.print(Text.assemble(("error: ", "red"), message), soft_wrap=True)


@contextmanager
def session(options: OutputOptions) -> Iterator[Session]:
    """Run a command's work: its errors and Ctrl-C end in a message and an exit code; mistakes of ours do not hide.

    Raises:
        typer.Exit: with code 1 or 130.
    """
    current = Session(options)
    messages = _Messages(current)
    library = logging.getLogger("cde_retrievers")
    library.addHandler(messages)
    try:
        yield current
    except KeyboardInterrupt as error:
        current.say(f"interrupted. {current.if_interrupted()}")
        raise typer.Exit(INTERRUPTED) from error
    except BrokenPipeError:  # whoever reads our answer has had enough; typer knows what to do
        raise
    except (CDEError, OSError) as error:
        current.fail(error)
        raise typer.Exit(ERROR) from error
    finally:
        library.removeHandler(messages)


class _Messages(logging.Handler):
    """The library's warnings, each kind once: most come again with every batch."""

    def __init__(self, current: Session) -> None:
        super().__init__(logging.WARNING)
        self._session = current
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg not in self._said:
            self._said.add(record.msg)
            self._session.warn(record.getMessage())
