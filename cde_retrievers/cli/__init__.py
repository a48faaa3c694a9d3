"""The command line, `cde-retrievers`: indexes of documents in files, without writing a program."""

import sys


def main() -> None:
    """Run the command that the arguments name.

    Raises:
        SystemExit: always; the code is 0 if all went well.
    """
    from cde_retrievers.errors import MissingDependencyError

    try:
        from cde_retrievers.cli.app import app
    except MissingDependencyError as error:
        sys.exit(f"error: {error}")
    try:
        app(prog_name="cde-retrievers")
    except OSError as error:  # outside of a command nothing is written but help
        sys.stdout = None
        sys.exit(f"error: {error}")
