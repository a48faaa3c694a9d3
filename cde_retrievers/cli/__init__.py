"""The command line, `cde-retrievers`: indexes of documents in files, without writing a program."""

import sys
from io import TextIOWrapper

_READER_IS_GONE = 141  # as a shell reports a program that SIGPIPE has ended


def main() -> None:
    """Run the command that the arguments name.

    Raises:
        SystemExit: always; the code is 0 if all went well.
    """
    from cde_retrievers.errors import MissingDependencyError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # documents hold characters that a stream may not have
    try:
        from cde_retrievers.cli.app import app
    except MissingDependencyError as error:
        sys.exit(f"error: {error}")
    try:
        app(prog_name="cde-retrievers")
    except SystemExit as exit:
        if isinstance(exit.__context__, BrokenPipeError):  # `| head` has seen enough
            sys.exit(_READER_IS_GONE)
        raise
    except OSError as error:  # outside of a command nothing is written but help
        sys.stdout = None
        sys.exit(f"error: {error}")
