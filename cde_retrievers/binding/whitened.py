"""What the frameworks' classes for external embeddings share: their settings, and how they are pickled."""

from typing import Any

from pydantic import Field

from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.external.embedder import DEFAULTS
from cde_retrievers.external.identity import require_picklable
from cde_retrievers.external.retries import DEFAULT_POLICY
from cde_retrievers.external.vector_cache import DEFAULT_MIB


class WhitenedMixin(ContextBoundMixin):
    """Settings of a `WhitenedEmbedder` as pydantic fields; it comes before the framework's context-bound class."""

    base: Any
    power: float = Field(default=DEFAULTS.power, description="Strength of the whitening, from 0 (none) to 1.")
    shrinkage: float = Field(
        default=DEFAULTS.shrinkage,
        description="Added to each direction's variance, in units of their mean; more than 0.",
    )
    batch_size: int = Field(default=DEFAULT_POLICY.batch_size, description="Documents per call of the base.")
    retries: int = Field(default=DEFAULT_POLICY.retries, description="Further attempts after a failed call.")
    wait: float = Field(
        default=DEFAULT_POLICY.wait,
        description="Seconds before the first of them; each next wait is twice as long, a minute at most.",
    )
    keep_mib: int = Field(
        default=DEFAULT_MIB,
        description="Mebibytes of plain vectors kept in memory, for documents and for queries each.",
    )

    def _whitening_settings(self) -> dict[str, Any]:
        """Return the keyword arguments of the `WhitenedEmbedder`."""
        others = {"base", *ContextBoundMixin.model_fields}
        return {name: getattr(self, name) for name in WhitenedMixin.model_fields if name not in others}

    def _known_width(self) -> None:
        return None

    def _pickled_settings(self, embedder: Embedder) -> dict[str, Any]:
        require_picklable(self.base)
        return {**super()._pickled_settings(embedder), "base": self.base}
