"""The parts of a saved module, and the sentence-transformers loading settings that it supports."""

import os
from pathlib import Path
from typing import Any

import torch

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.context.persistence import check_target
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import CheckpointError, ConfigurationError

_ENCODER, _CONTEXT = "encoder", "context"


def write_parts(folder: Path, encoder: ContextualEncoder, context: CorpusContext) -> None:
    """Write `encoder/` and `context/` into `folder`; errors as in their `save`."""
    check_target(folder / _CONTEXT)  # else the older context would be left beside the new encoder
    encoder.save(folder / _ENCODER)
    context.save(folder / _CONTEXT)


def read_parts(folder: Path, dtype: str | torch.dtype) -> tuple[ContextualEncoder, CorpusContext]:
    """Load what `write_parts` wrote; errors as in `ContextualModule.load`."""
    # Asked here, because a name that is not a directory would be looked up on the hub.
    missing = [part for part in (_ENCODER, _CONTEXT) if not os.path.isdir(folder / part)]
    if missing:
        raise CheckpointError(
            f"{folder} holds no contextual module: it has no directory {' or '.join(missing)}; "
            f"give the path that SentenceTransformer.save(path) was given"
        )
    context = CorpusContext.load(folder / _CONTEXT)
    return ContextualEncoder.from_pretrained(folder / _ENCODER, dtype=dtype), context


def requested_dtype(
    model_kwargs: dict[str, Any] | None = None, backend: str = "torch", **kwargs: Any
) -> str | torch.dtype:
    """The number format that `SentenceTransformer(path, model_kwargs={"dtype": ...})` asks for.

    Raises:
        ConfigurationError: a setting is given that encoders do not have.
    """
    others = (kwargs.get(name) or {} for name in ("processor_kwargs", "config_kwargs", "init_defaults"))
    settings = {name: value for given in (model_kwargs or {}, *others) for name, value in given.items()}
    dtype: str | torch.dtype = settings.pop("dtype", "auto")
    if settings or backend != "torch":
        raise ConfigurationError(
            f"a contextual encoder supports the torch backend and, of the settings, only "
            f"model_kwargs={{'dtype': ...}}; found backend={backend!r} and {sorted(settings)}; leave them out"
        )
    return dtype
