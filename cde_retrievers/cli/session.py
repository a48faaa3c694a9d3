"""The frame of every command: answers on stdout, everything else on stderr, errors in one line, Ctrl-C in order."""

import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from cde_retrievers.cli.options.common import OutputOptions
from cde_retrievers.cli.printing import Printable, printable_json
from cde_retrievers.errors import CDEError, WriteError
from cde_retrievers.util.progress import logger as _progress

ERROR, ANOTHER, INTERRUPTED = 1, 3, 130
"""Exit codes: something was wrong; the answer is one that a script should notice; Ctrl-C."""

_UNBROKEN = 1_000_000_000  # columns

# "endings= (--ending)" and "upsert() (--upsert)" name the argument and the option.
_OPTION_BESIDE = re.compile(r"\w+(?:=|\(\)) \((--[a-z-]+)\)")
_CALL = re.compile(r"\w\([^()]*\)")


def _without_python(message: str) -> str:
    """Return an error's message without the way out at its end, if that is a call in Python."""
    rule, _, way_out = message.rpartition("; ")
    return rule if rule and _CALL.search(way_out) else message


class Session:
    """One run of a command.

    Attributes:
        if_interrupted: says after Ctrl-C what is kept and how to continue.
        way_out: what to do on the command line about kinds of errors whose messages speak of Python.
    """

    def __init__(self, options: OutputOptions) -> None:
        self._options = options
        width = None if is_terminal(sys.stdout) else _UNBROKEN
        self._stdout = _Console(highlight=False, markup=False, emoji=False, width=width)
        self._stderr = _Console(stderr=True, highlight=False, markup=False, emoji=False)
        self.if_interrupted: Callable[[], str] = lambda: "Nothing was changed."
        self.way_out: Mapping[type[CDEError], str] = {}

    @property
    def show_progress(self) -> bool | None:
        """Whether to show progress bars; None for long work only."""
        return self._options.progress

    def say(self, message: str, style: str = "") -> None:
        """Print one line for people, on stderr."""
        self._tell(Text(message, style=style))

    def warn(self, message: str) -> None:
        """Print one line that should not be missed, on stderr."""
        self._tell(Text.assemble(("warning: ", "yellow"), message))

    def answer(self, data: Mapping[str, Any], *lines: RenderableType) -> None:
        """Print the result on stdout: as JSON with --json, else in lines for people.

        Raises:
            WriteError: it cannot be written there.
            BrokenPipeError: the reader has closed the pipe.
        """
        try:
            if self._options.as_json:
                typer.echo(printable_json(data, getattr(sys.stdout, "encoding", None)))
                return
            for line in lines:
                self._print(line)
        except BrokenPipeError:
            raise
        except OSError as error:
            sys.stdout = None  # else Python tries to write the rest at exit, and prints a message of its own
            raise WriteError(
                f"the answer cannot be written to stdout: {error.strerror}; the command itself has completed"
            ) from error

    def _print(self, line: RenderableType) -> None:
        if is_terminal(sys.stdout):
            self._stdout.print(Printable(line), soft_wrap=isinstance(line, str))
            return
        # For programs such as grep: a line is never broken, nor padded to the width of a column.
        with self._stdout.capture() as captured:
            self._stdout.print(Printable(line), soft_wrap=isinstance(line, str))
        for whole in captured.get().splitlines():
            typer.echo(whole.rstrip())

    def fail(self, error: Exception) -> None:
        """Print what went wrong in one line."""
        if self._options.verbose:
            self.say("".join(traceback.format_exception(error)).rstrip(), style="dim")
        message = _OPTION_BESIDE.sub(r"\1", " ".join(str(error).split()))
        if not isinstance(error, CDEError | OSError):
            message = f"unexpected {type(error).__name__}: {message}"
            message += "" if self._options.verbose else " (--verbose shows where it arose; please report it)"
        for kind, way_out in self.way_out.items():
            if isinstance(error, kind):
                message = f"{_without_python(message)}; {way_out}"
        self._tell(Text.assemble(("error: ", "red"), message))

    def _tell(self, message: Text) -> None:
        # A closed stderr does not stop the work.
        with suppress(OSError):
            self._stderr.print(Printable(message), soft_wrap=True)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person reads the stream."""
    return stream is not None and stream.isatty()


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # the base class would end the program, even if it is only stderr that was closed


@contextmanager
def session(options: OutputOptions) -> Iterator[Session]:
    """Run a command's work: errors and Ctrl-C end in one line and an exit code; unexpected errors are named as such.

    Raises:
        typer.Exit: with code 1 or 130.
    """
    current = Session(options)
    messages = _Messages(current)
    library = logging.getLogger("cde_retrievers")
    library.addHandler(messages)
    _progress.setLevel(logging.INFO)
    try:
        yield current
    except KeyboardInterrupt as error:
        current.say(f"interrupted. {current.if_interrupted()}")
        raise typer.Exit(INTERRUPTED) from error
    except BrokenPipeError:  # the reader of the output has closed it: `main` knows what to do
        raise
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:
        current.fail(error)
        raise typer.Exit(ERROR) from error
    finally:
        library.removeHandler(messages)
        _progress.setLevel(logging.NOTSET)


class _Messages(logging.Handler):
    """Shows how far work is, and each kind of the library's warnings once: most are repeated with every batch."""

    def __init__(self, current: Session) -> None:
        super().__init__(logging.INFO)
        self._session = current
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING:
            if record.name == _progress.name:
                self._session.say(record.getMessage())
        elif record.msg not in self._said:
            self._said.add(record.msg)
            self._session.warn(record.getMessage())
