"""Embedders by the settings of their vectors."""

from collections.abc import Callable

from cde_retrievers.encoder.embedder import Embedder, checked_embedder
from cde_retrievers.encoder.lexical import LexicalEmbedder
from cde_retrievers.encoder.query_side import QuerySideEmbedder
from cde_retrievers.encoder.vector_settings import MODELS_OWN, VectorSettings, vector_settings_of
from cde_retrievers.errors import ConfigurationError


def with_settings(embedder: Embedder, settings: VectorSettings) -> Embedder:
    """Return an embedder whose vectors have these settings: one over `embedder`, or itself if its own have them.

    The default settings take an embedder as it is.

    Raises:
        ConfigurationError: its vectors already have other settings, or its model cannot give such vectors.
    """
    own = vector_settings_of(checked_embedder(embedder))
    if settings in (MODELS_OWN, own):
        return embedder
    if own != MODELS_OWN:
        raise ConfigurationError(
            f"this encoder already has {own}, so it cannot have {settings} too; give the model itself, or leave these "
            f"settings out"
        )
    return (
        QuerySideEmbedder(embedder) if settings.side == "query" else LexicalEmbedder(embedder, settings.lexical_width)
    )


def load_with_settings(load: Callable[[], Embedder], settings: VectorSettings) -> Embedder:
    """Call `load`, then `with_settings`; picklable if `load` is."""
    return with_settings(load(), settings)
