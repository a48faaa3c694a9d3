"""`python -m cde_retrievers.training config.toml`, alone or under torchrun."""

import argparse
import logging
import sys
import traceback
from collections.abc import Sequence

from cde_retrievers.errors import CDEError

_ERROR, _INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the file says; an error ends with one line on stderr.

    Args:
        arguments: of the command line; those of this process if None.

    Returns:
        The exit code: 0, 1 after an error, or 130 after Ctrl-C.
    """
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    log = logging.getLogger(__name__)
    try:
        # After the arguments are read: torch takes a second to import.
        from cde_retrievers.training.run_file import train_from_file

        result = train_from_file(given.config, resume_from_checkpoint=given.resume or None)
    except KeyboardInterrupt:
        log.error("interrupted; --resume continues from the newest complete checkpoint")
        return _INTERRUPTED
    except Exception as error:
        if given.verbose:
            traceback.print_exc()
        log.error("error: %s", _in_one_line(error))
        return _ERROR
    log.info("the trained model is in %s", result.model_path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cde_retrievers.training", description="Train a contextual model.")
    parser.add_argument("config", help="TOML file with the tables [model], [data] and [training]")
    parser.add_argument("--resume", action="store_true", help="continue from the newest complete checkpoint")
    parser.add_argument("--verbose", action="store_true", help="show where in the program an error arose")
    return parser


def _in_one_line(error: Exception) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, CDEError | OSError):
        return message
    return f"unexpected {type(error).__name__}: {message} (--verbose shows where it arose; please report it)"


if __name__ == "__main__":
    sys.exit(main())
