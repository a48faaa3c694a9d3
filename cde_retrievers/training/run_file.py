"""A training run described by a TOML file.

    [model]
    name = "sentence-transformers/all-MiniLM-L6-v2"
    conditioning = "cached"

    [data]
    path = "pairs.jsonl"

    [training]
    output_dir = "run"
    num_train_epochs = 3

[model] has `name` (or a path) and, for a bi-encoder, `conditioning` ("cached" if left out) and fields of
`ContextualConfig`; [data] has the arguments of `read_pairs`, with several paths as a list; [training] has fields of
`TrainingConfig`.
"""

import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from cde_retrievers.corpora.decoding import read_text
from cde_retrievers.errors import ConfigurationError, CorpusFileError
from cde_retrievers.training.config import TrainingConfig
from cde_retrievers.training.data.pairs import TrainingPairs
from cde_retrievers.training.data.read import read_pairs
from cde_retrievers.training.run import TrainingResult, train
from cde_retrievers.validation.paths import checked_path

_TABLES = ("model", "data", "training")
_DATA = ("path", "split", "domain")


def train_from_file(path: str | Path, resume_from_checkpoint: str | Path | bool | None = None) -> TrainingResult:
    """Train as a TOML file describes; paths in it are relative to the current directory.

    Args:
        path: of the file.
        resume_from_checkpoint: as `train`.

    Raises:
        ConfigurationError: the file is missing or not TOML, or a table or key is missing, unknown or impossible.
        TrainingDataError, TrainingError, MissingDependencyError: as `train`.
    """
    tables = read_run_file(path)
    config = TrainingConfig.from_dict(tables["training"])
    model = dict(tables["model"])
    name, conditioning = model.pop("name"), model.pop("conditioning", None)
    return train(
        name,
        _pairs(dict(tables["data"])),
        config,
        conditioning=conditioning,
        resume_from_checkpoint=resume_from_checkpoint,
        **model,
    )


def read_run_file(path: str | Path) -> dict[str, dict[str, Any]]:
    """The tables `model`, `data` and `training` of a file.

    Raises:
        ConfigurationError: the file is missing or not TOML, or a table or key is missing or unknown.
    """
    try:
        tables = tomllib.loads(read_text(checked_path(path), "utf-8"))
    except RecursionError as error:
        raise ConfigurationError(f"{path} is not a readable TOML file: its values are nested too deeply") from error
    except (CorpusFileError, ValueError) as error:
        raise ConfigurationError(f"{path} is not a readable TOML file: {error}") from error
    _check_names(f"{path}: table", tables, _TABLES)
    for table, needed in (("model", "name"), ("data", "path"), ("training", "output_dir")):
        if not isinstance(tables.get(table), dict) or needed not in tables[table]:
            raise ConfigurationError(f"{path} needs a table [{table}] with a value for {needed}")
    _check_names(f"{path}: [data]", tables["data"], _DATA)
    _check_texts(f"{path}: name in [model]", [tables["model"]["name"]])
    _check_texts(f"{path}: path in [data]", _listed(tables["data"]["path"]))
    return tables


def _pairs(data: dict[str, Any]) -> TrainingPairs:
    paths = _listed(data.pop("path"))
    return reduce(add, [read_pairs(path, **data) for path in paths])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_texts(place: str, values: list[Any]) -> None:
    if not values or not all(isinstance(value, str) and value for value in values):
        raise ConfigurationError(f'{place} must be a text, found {values}; give one, as in "pairs.jsonl"')


def _check_names(place: str, found: Iterable[str], known: tuple[str, ...]) -> None:
    for name in found:
        if name not in known:
            near = get_close_matches(name, known) or known
            raise ConfigurationError(f"{place} {name!r} is unknown; similar ones are {', '.join(near)}")
