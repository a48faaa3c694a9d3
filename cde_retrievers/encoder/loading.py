"""Loading a model with its tokenizer: a built-in, released or saved one, or a new one over a bi-encoder."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from cde_retrievers.encoder.forked import prepare_torch
from cde_retrievers.encoder.tokenizer import load_tokenizer
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.config import Conditioning
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.model.hub import local_folder
from cde_retrievers.model.pretrained import BUILT_IN, biencoder_folder, refuse_ambiguity
from cde_retrievers.model.released import tokenizer_source


def load_pretrained(
    name_or_path: str | Path, cache_folder: str | Path | None, variant: str | None
) -> tuple[ContextualModel, Tokenizer]:
    """Load a pretrained model; arguments and errors as in `ContextualEncoder.from_pretrained`."""
    prepare_torch()
    name = str(name_or_path)
    if name in BUILT_IN:
        refuse_ambiguity(name_or_path)
        if variant is not None:
            raise ConfigurationError(f"the built-in model {name!r} has no variants; leave variant={variant!r} out")
        model, folder = BUILT_IN[name]()
    else:
        folder = local_folder(name_or_path, cache_folder)
        model = ContextualModel.from_pretrained(folder, variant)
    return model, load_tokenizer(folder, tokenizer_source(folder), cache_folder)


def load_over_biencoder(
    name_or_path: str | Path,
    conditioning: str | Conditioning,
    seed: int,
    cache_folder: str | Path | None,
    settings: dict[str, Any],
) -> tuple[ContextualModel, Tokenizer]:
    """Make a model over a bi-encoder; arguments and errors as in `ContextualEncoder.from_biencoder`."""
    prepare_torch()
    folder = biencoder_folder(name_or_path, cache_folder)
    model = ContextualModel.from_biencoder(folder, conditioning, seed=seed, **settings)
    return model, load_tokenizer(folder)
