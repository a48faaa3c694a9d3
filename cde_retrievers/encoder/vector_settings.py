"""Settings of an embedder's vectors: how they differ from those that a model gives by itself under a context."""

from dataclasses import dataclass
from typing import Literal, get_args

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError, shown

Side = Literal["both", "query"]


@dataclass(frozen=True, slots=True)
class VectorSettings:
    """How vectors differ from those that a model gives by itself.

    Attributes:
        side: the texts that the context acts on: "both" documents and queries, or the "query" alone.

    Raises:
        ConfigurationError: a value is impossible.
    """

    side: Side = "both"

    def __post_init__(self) -> None:
        if self.side not in get_args(Side):
            raise ConfigurationError(f"side must be one of {list(get_args(Side))}, found {shown(self.side)}")


MODELS_OWN = VectorSettings()
"""A model's own vectors."""


def vector_settings_of(embedder: Embedder) -> VectorSettings:
    """Return the settings that an embedder states; one that states none gives its model's own vectors."""
    settings: VectorSettings = getattr(embedder, "vector_settings", MODELS_OWN)
    return settings
