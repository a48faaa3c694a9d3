"""What is asked of a new index, or of the next generation of one, checked before any work."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from cde_retrievers.context.context import CorpusContext, checked_context
from cde_retrievers.encoder.cut_texts import counted_cut_texts
from cde_retrievers.encoder.embedder import Embedder, checked_embedder, fitted_context
from cde_retrievers.encoder.vector_settings import vector_settings_of
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.index.manifest import Kind, Manifest
from cde_retrievers.index.sources_file import SourceRecord
from cde_retrievers.index.vector_format import Dtype
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.vectors import checked_width


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """The settings of a new index; fields as in `ContextualIndex.build`."""

    embedder: Embedder
    context: CorpusContext | None
    size: int | None = None
    strategy: str = "random"
    seed: int = 0
    language: str | None = "english"
    kind: Kind
    batch: int
    dtype: Dtype
    dimensions: int | None
    source: SourceRecord | None = None

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigurationError(f"batch_size must be a positive whole number, found {self.batch}")
        check_settings(self.embedder, self.context, self.dimensions)
        if self.context is not None:
            self._refuse_choice()

    @property
    def settings(self) -> dict[str, object]:
        """The settings that must be the same to continue an interrupted build."""
        chosen = {"size": self.size, "strategy": self.strategy, "seed": self.seed, "language": self.language}
        context = chosen if self.context is None else {"fingerprint": self.context.fingerprint}
        settings: dict[str, object] = {"kind": self.kind, "model": self.embedder.fingerprint, "context": context}
        if (self.dtype, self.dimensions) == ("float32", None):
            return settings  # as an earlier release wrote it
        return {**settings, "dtype": self.dtype, "dimensions": self.dimensions}

    def fitted_context(self, texts: Iterable[str], show_progress: bool | None) -> CorpusContext:
        """Return the given context, or one fitted on the texts."""
        if self.context is not None:
            return self.context
        choice = (self.size, self.strategy, self.seed, show_progress, self.language)
        with counted_cut_texts():  # the same texts are embedded again, and counted then
            return fitted_context(self.embedder, texts, *choice)

    def _refuse_choice(self) -> None:
        """Refuse settings of a fit that will not take place."""
        choice = ("size", "strategy", "seed", "language")
        changed = [f.name for f in fields(self) if f.name in choice and getattr(self, f.name) != f.default]
        if changed:
            raise ConfigurationError(
                f"{changed[0]} says how a context is fitted, but context= is fitted already; leave one of them out"
            )

    def new_manifest(self, context: CorpusContext) -> Manifest:
        """Return the first generation of the index under the context, without documents."""
        return new_manifest(self.embedder, context, self.kind, self.dtype, self.dimensions)


def new_manifest(
    embedder: Embedder, context: CorpusContext, kind: Kind, dtype: Dtype, dimensions: int | None
) -> Manifest:
    """Return the first generation of an index under a context, without documents."""
    return Manifest(
        generation=1,
        model_name=embedder.name,
        model_fingerprint=context.model_fingerprint,
        context=context.fingerprint,
        width=checked_width(embedder.width),
        kind=kind,
        dtype=dtype,
        dimensions=dimensions,
    )


def check_settings(embedder: Embedder, context: CorpusContext | None, dimensions: int | None) -> None:
    """Raise ConfigurationError for an impossible setting, or ContextMismatchError for another model's context."""
    checked_embedder(embedder)
    if context is not None:
        embedder.check_context(checked_context(context))
    if dimensions is not None:
        _check_dimensions(embedder, dimensions)


def _check_dimensions(embedder: Embedder, dimensions: int) -> None:
    """Refuse dimensions that the vectors of an embedder cannot be cut to."""
    check_whole("dimensions", dimensions, 1)
    width = checked_width(embedder.width)
    if dimensions > width:
        raise ConfigurationError(
            f"dimensions={dimensions} are the first numbers of an embedding, but {embedder.name} gives {width}; ask "
            f"for 1 to {width}, or leave dimensions out"
        )
    lexical = vector_settings_of(embedder).lexical_width
    if lexical:
        raise ConfigurationError(
            f"dimensions={dimensions} keeps the first numbers of a vector and would cut off its lexical part, the last "
            f"{lexical}; leave out dimensions or lexical_width"
        )
