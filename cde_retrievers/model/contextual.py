"""The two-stage model that embeds texts under a context (paper, section 4.2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from cde_retrievers.errors import CheckpointError, ConfigurationError
from cde_retrievers.model.backbones import TRAINING_SETTINGS, check_conditioning, longest_text
from cde_retrievers.model.biencoder import read_biencoder
from cde_retrievers.model.cached_conditioning import CachedSecondStage
from cde_retrievers.model.checkpoints import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    check_integrity,
    check_own_layout,
    digest_weights,
    fill,
    is_own_layout,
    read_config,
    read_weights,
    unique_weights,
    write_checkpoint,
    write_files,
)
from cde_retrievers.model.config import (
    Conditioning,
    ContextualConfig,
    as_conditioning,
)
from cde_retrievers.model.joint_conditioning import JointSecondStage
from cde_retrievers.model.released import (
    BACKBONE_FILE,
    is_published,
    is_published_folder,
    published_config,
    published_files,
)
from cde_retrievers.model.released_weights import native_weights, published_weights
from cde_retrievers.model.stages import build_stages
from cde_retrievers.storage.atomic import atomic_directory, recovered
from cde_retrievers.storage.checksums import write_checksums
from cde_retrievers.storage.hashing import sha256_of_json, write_json
from cde_retrievers.validation.signatures import validated


class ContextualModel(nn.Module):
    """A first stage that computes context vectors, and a second stage that embeds texts under them.

    `first_stage(input_ids, attention_mask)` returns context vectors; `second_stage(input_ids, attention_mask,
    context_vectors)` returns embeddings under them. Neither is normalised.

    A model made from its config alone has random weights; use `from_biencoder` or `from_pretrained`.
    """

    def __init__(self, config: ContextualConfig) -> None:
        super().__init__()
        self.config = config
        check_conditioning(config.backbone.get("model_type"), config.conditioning.kind)
        self.first_stage, self.second_stage = build_stages(config)
        longest = longest_text(self.first_stage.backbone.config)
        if config.max_length > longest:
            raise ConfigurationError(
                f"max_length is {config.max_length}, but the backbone has positions for {longest} tokens; "
                f"set max_length to at most {longest}"
            )

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return self.second_stage.width

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        context_input_ids: Tensor,
        context_attention_mask: Tensor,
    ) -> Tensor:
        """Run both stages: texts (B, L) under context documents (N, Lc) -> (B, W), not normalised."""
        vectors = self.first_stage(context_input_ids, context_attention_mask)
        embeddings: Tensor = self.second_stage(input_ids, attention_mask, vectors)
        return embeddings

    @classmethod
    @validated
    def from_biencoder(
        cls,
        name_or_path: str | Path,
        conditioning: str | Conditioning = "whitening",
        *,
        seed: int = 0,
        cache_folder: str | Path | None = None,
        **settings: Any,
    ) -> Self:
        """Make a contextual model over a bi-encoder in Hugging Face or sentence-transformers layout.

        Under `cached` and, with power 0, `whitening`, it gives exactly the bi-encoder's embeddings until it is
        trained. Under `joint` it starts close to them: an untrained context is noise before the text.

        Args:
            name_or_path: a directory, or a repository on the Hugging Face hub.
            conditioning: "joint", "cached" or "whitening", or their settings.
            seed: seed of the weights that the bi-encoder does not have.
            cache_folder: directory for downloads from the hub.
            settings: fields of `ContextualConfig` to set, such as prompts or `max_length`.

        Raises:
            CheckpointError: there is no bi-encoder of that name, or this library cannot read it.
            ConfigurationError: a setting is unknown or impossible.
        """
        source = read_biencoder(name_or_path, cache_folder)
        config = ContextualConfig(**{**source.settings, **settings, "conditioning": as_conditioning(conditioning)})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = cls(config)
        fill(model.first_stage.backbone, source.weights.items())
        if isinstance(model.second_stage, JointSecondStage | CachedSecondStage):
            # Copies, since the stages diverge in training.
            fill(model.second_stage.backbone, ((name, weight.clone()) for name, weight in source.weights.items()))
            model.second_stage.start_from_biencoder()
        return model.eval()

    @classmethod
    @validated
    def from_pretrained(cls, path: str | Path, variant: str | None = None) -> Self:
        """Load a saved model, or a released one in its published layout (cde-small-v1 or -v2).

        Args:
            path: a directory.
            variant: of a released model: "train" (the default), the function its weights were trained and scored with,
                or "hub", the one its published remote code computes. Indexes of one do not fit the other.

        Raises:
            CheckpointError: the directory is incomplete or damaged, its config has unknown keys or impossible values,
                or its weights do not fit its config.
            ConfigurationError: the model does not come in that variant.
        """
        folder = recovered(path)
        settings = read_config(folder)
        check_integrity(folder, settings)
        weights = read_weights(folder / WEIGHTS_FILE)
        if is_published(settings):
            config = published_config(folder, settings, variant or "train")
            weights = native_weights(config.backbone["model_type"], weights)
        else:
            fields = check_own_layout(folder, settings)
            with _blamed_on(folder):
                config = ContextualConfig.from_dict(fields)
            _check_variant(config.conditioning, variant)
        with _blamed_on(folder), torch.device("meta"):
            model = cls(config)
        fill(model, weights)
        return model.eval()

    def save(self, path: str | Path) -> None:
        """Write config and weights into the directory `path`, whole or not at all.

        Raises:
            PathInUseError: `path` is a file, or a directory that does not hold a model saved before.
            WriteError: the disk is full, or `path` cannot be written to.
        """
        with atomic_directory(path, is_own_layout) as directory:
            self.write_files(directory)
            write_checksums(directory)

    def write_files(self, directory: Path) -> None:
        """Write config and weights into an existing directory, to which the caller may add files."""
        write_checkpoint(directory, self.config.to_dict(), unique_weights(self))

    def export_published_layout(self, path: str | Path) -> None:
        """Write a released model, fine-tuned or not, in the layout it was published in.

        Raises:
            ConfigurationError: the model is of another architecture.
            PathInUseError: `path` is a file, or a directory that does not hold such a model.
            WriteError: the disk is full, or `path` cannot be written to.
        """
        published_files(self.config)  # raises before anything is written
        with atomic_directory(path, is_published_folder) as directory:
            self.write_published_files(directory)
            write_checksums(directory)

    def write_published_files(self, directory: Path) -> None:
        """Write the published layout into an existing directory, to which the caller may add files."""
        settings, backbone = published_files(self.config)
        weights = published_weights(self.config.backbone["model_type"], unique_weights(self))
        write_json(directory / BACKBONE_FILE, backbone)
        write_files(directory, settings, weights)

    def fingerprint(self) -> str:
        """Return the SHA-256 over the settings and weights that embeddings depend on."""
        return sha256_of_json({"config": self._settings_of_function(), "weights": digest_weights(self)})

    def first_stage_fingerprint(self) -> str:
        """Return the SHA-256 over all that first-stage vectors depend on; models over one bi-encoder share it."""
        settings = self._settings_of_function()
        del settings["conditioning"]
        return sha256_of_json({"config": settings, "weights": digest_weights(self.first_stage)})

    def _settings_of_function(self) -> dict[str, Any]:
        settings = self.config.to_dict()
        # The number of context documents belongs to the context, dropout to training.
        del settings["context_size"]
        for name in TRAINING_SETTINGS:
            settings["backbone"].pop(name, None)
        return settings


@contextmanager
def _blamed_on(folder: Path) -> Iterator[None]:
    """Turn errors about settings into errors about the file they were read from."""
    try:
        yield
    except ConfigurationError as error:
        raise CheckpointError(
            f"{folder / CONFIG_FILE} does not describe a model: {error}; fetch or save it again"
        ) from error


def _check_variant(conditioning: Conditioning, variant: str | None) -> None:
    saved = getattr(conditioning, "variant", None)
    if variant not in (None, saved):
        raise ConfigurationError(
            f"variant {variant!r} was requested, but this model was saved as {saved!r}; leave the variant out, or load "
            f"the published checkpoint"
        )
