"""`python -m cde_retrievers.training config.toml`, alone or under torchrun."""

import argparse
import logging
import sys

from cde_retrievers.errors import CDEError


def main() -> None:
    """Train as the file says; an error of ours ends with its message and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m cde_retrievers.training", description="Train a contextual model.")
    parser.add_argument("config", help="TOML file with the tables [model], [data] and [training]")
    parser.add_argument("--resume", action="store_true", help="continue from the newest complete checkpoint")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from cde_retrievers.training.run_file import (
        train_from_file,
    )  # after the arguments: torch takes a second to import

    try:
        result = train_from_file(arguments.config, resume_from_checkpoint=arguments.resume or None)
    except CDEError as error:
        sys.exit(f"error: {error}")
    logging.getLogger(__name__).info("the trained model is in %s", result.model_path)


if __name__ == "__main__":
    main()
