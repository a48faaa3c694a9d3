"""Settings of an embedder's vectors: how they differ from those that a model gives by itself under a context."""

from dataclasses import dataclass
from typing import Literal, get_args

from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.vectors import LARGEST_WIDTH

Side = Literal["both", "query"]


@dataclass(frozen=True, slots=True)
class VectorSettings:
    """How vectors differ from those that a model gives by itself.

    Attributes:
        side: the texts that the context acts on: "both" documents and queries, or the "query" alone.
        lexical_width: numbers of the lexical part that is appended to a vector; 0 for none.

    Raises:
        ConfigurationError: a value is impossible, or the two do not go together.
    """

    side: Side = "both"
    lexical_width: int = 0

    def __post_init__(self) -> None:
        if self.side not in get_args(Side):
            raise ConfigurationError(f"side must be one of {list(get_args(Side))}, found {shown(self.side)}")
        check_whole("lexical_width", self.lexical_width, 0)
        if self.lexical_width > LARGEST_WIDTH:
            raise ConfigurationError(f"lexical_width must be at most {LARGEST_WIDTH:,}, found {self.lexical_width}")
        if self.side == "query" and self.lexical_width > 0:
            raise ConfigurationError(
                f"lexical_width={self.lexical_width} changes the vectors of documents too, but side='query' is for "
                f"documents whose vectors stay plain; give one of the two"
            )


MODELS_OWN = VectorSettings()
"""A model's own vectors."""


def vector_settings_of(embedder: Embedder) -> VectorSettings:
    """Return the settings that an embedder states; one that states none gives its model's own vectors."""
    settings: VectorSettings = getattr(embedder, "vector_settings", MODELS_OWN)
    return settings
