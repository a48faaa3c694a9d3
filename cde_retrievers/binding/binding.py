"""An encoder and the context it embeds under: the state of a framework's embedding object."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Self

from cde_retrievers.binding.check import plain_stamp
from cde_retrievers.context.context import CorpusContext, checked_context
from cde_retrievers.encoder.embedder import Embedder, checked_embedder, fitted_context
from cde_retrievers.encoder.vector_settings import vector_settings_of
from cde_retrievers.errors import ContextInUseError, ContextMismatchError, ContextNotFittedError
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings, checked_embeddings, checked_width


class ContextBinding:
    """Binds an encoder to a context, so that `list[str] -> vectors` interfaces can use it.

    Nothing is fitted implicitly. A context under which texts were embedded is replaced only on request, since the
    earlier vectors would silently not fit the new ones. Plain vectors of documents fit every context.

    Args:
        encoder: the embedder; several bindings may share one loaded model.
        remedy: the line of code that a user without a context should add.
        expected_fingerprint: fingerprint of the only context to accept, if an existing index requires it.
    """

    def __init__(self, encoder: Embedder, remedy: str, expected_fingerprint: str | None = None) -> None:
        self.encoder = checked_embedder(encoder)
        self._expected_fingerprint = expected_fingerprint
        self._remedy = remedy
        self._context: CorpusContext | None = None
        self._used = False
        self._replaced = False
        self._running = 0
        self._lock = Lock()

    @property
    def is_fitted(self) -> bool:
        """Whether there is a context."""
        return self._context is not None

    @property
    def has_had_others(self) -> bool:
        """Whether texts were embedded under an earlier context, whose vectors may still be about."""
        return self._replaced

    @property
    def context(self) -> CorpusContext:
        """The context under which texts are embedded.

        Raises:
            ContextNotFittedError: there is none yet.
        """
        context = self._context
        if context is None:
            raise ContextNotFittedError(
                "no context is fitted, so texts cannot be embedded yet. Before building the index, add the line\n"
                f"    {self._remedy}\n"
                "or give the constructor context_path=... with a saved context"
            )
        return context

    @property
    def documents_are_plain(self) -> bool:
        """Whether the context acts on queries alone."""
        return vector_settings_of(self.encoder).side == "query"

    @property
    def stamp(self) -> str:
        """What an index states of its documents' vectors: the context's fingerprint, or that they are plain.

        Raises:
            ContextNotFittedError: they depend on a context, and there is none yet.
        """
        return plain_stamp(self.encoder) or self.context.fingerprint

    @validated
    def fit(
        self,
        texts: Iterable[str],
        *,
        size: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        refit: bool = False,
        show_progress: bool | None = None,
        language: str | None = "english",
    ) -> None:
        """Fit a context on the texts that are going to be indexed; options as in `ContextualEncoder.fit_context`.

        Raises:
            ContextInUseError: texts were embedded under the present context, and `refit` is False.
            EmbeddingServiceError: the encoder returned something other than a context.
        """
        self._refuse_to_lose(refit)
        self.bind(fitted_context(self.encoder, texts, size, strategy, seed, show_progress, language), refit=refit)

    def bind(self, context: CorpusContext, *, refit: bool = False) -> None:
        """Embed under `context` from now on.

        Raises:
            ContextMismatchError: another model fitted it, or it is not the one expected and `refit` is False.
            ContextInUseError: texts were embedded under another context, and `refit` is False.
        """
        self.encoder.check_context(checked_context(context))
        if not refit and self._expected_fingerprint not in (None, context.fingerprint):
            raise ContextMismatchError(
                f"this context has fingerprint {context.fingerprint}, but {self._expected_fingerprint} is expected; "
                f"load the context that was saved with the index, or pass refit=True and embed the corpus again"
            )
        with self._lock:
            if context != self._context:
                self._refuse_to_lose(refit)
                self._replaced = self._replaced or self._used or self._running > 0
                self._used = False
            self._expected_fingerprint = None
            self._context = context

    def check_still(self, stamp: str) -> None:
        """Raise ContextMismatchError unless documents would still get that stamp, which is an index's."""
        _check_same(stamp, self.stamp)

    def use(self, fingerprint: str) -> CorpusContext:
        """Return the context if it has that fingerprint, and mark it as used, since the caller embeds under it.

        Raises:
            ContextNotFittedError: there is none yet.
            ContextMismatchError: it is another one.
        """
        with self._lock:
            _check_same(fingerprint, self.context.fingerprint)
            self._used = True
            return self.context

    @validated
    def load(self, path: str | Path) -> None:
        """Bind a saved context; errors as in `bind`, and ContextFileError if it is missing, damaged or edited."""
        self.bind(CorpusContext.load(path))

    @validated
    def encode_documents(self, texts: Iterable[str], show_progress: bool | None = None) -> Embeddings:
        """Embed documents as `ContextualEncoder.encode_documents` does, under the bound context.

        Raises:
            EmbeddingServiceError: the encoder did not return one unit vector for each text.
        """
        with self._using() as context:
            known = list(checked_texts(texts))
            answer = self.encoder.encode_documents(known, context, show_progress)
            return self._used_for(checked_embeddings(answer, len(known), checked_width(self.encoder.width)))

    @validated
    def encode_queries(self, texts: Iterable[str], show_progress: bool | None = None) -> Embeddings:
        """Embed queries under the bound context; errors as in `encode_documents`."""
        with self._using() as context:
            known = list(checked_texts(texts))
            answer = self.encoder.encode_queries(known, context, show_progress)
            return self._used_for(checked_embeddings(answer, len(known), checked_width(self.encoder.width)))

    def with_context(self, context: CorpusContext) -> Self:
        """Return a binding of the same encoder to `context`; nothing is copied, and both can be used at once.

        Raises:
            ContextMismatchError: another model fitted the context.
        """
        twin = type(self)(self.encoder, self._remedy)
        twin.bind(context)
        return twin

    def over(self, encoder: Embedder) -> Self:
        """Return a binding of another encoder, without a context yet."""
        return type(self)(encoder, self._remedy)

    def copy(self) -> Self:
        """Return a binding of the same encoder to the same context; refitting one does not affect the other."""
        twin = type(self)(self.encoder, self._remedy, self._expected_fingerprint)
        twin._context, twin._used, twin._replaced = self._context, self._used, self._replaced
        return twin

    @contextmanager
    def _using(self) -> Iterator[CorpusContext]:
        """Yield the context; it cannot be replaced without `refit` while texts are embedded under it."""
        with self._lock:
            context = self.context
            self._running += 1
        try:
            yield context
        finally:
            with self._lock:
                self._running -= 1

    def _used_for(self, embeddings: Embeddings) -> Embeddings:
        with self._lock:
            self._used = self._used or (len(embeddings) > 0 and not self.documents_are_plain)
        return embeddings

    def _refuse_to_lose(self, refit: bool) -> None:
        running = self._running > 0 and not self.documents_are_plain
        if (self._used or running) and not refit:
            raise ContextInUseError(
                f"texts are already embedded under context {self.context.fingerprint[:12]}, and their vectors would "
                f"not fit a new one; to start over pass refit=True and embed the whole corpus again, to serve a "
                f"second index make a second embedding object"
            )


def _check_same(built: str, now: str) -> None:
    if built != now:
        raise ContextMismatchError(
            f"the index was made under context {built}, but the embeddings have since been refitted to {now}; build "
            f"the index again, and a new retriever over it"
        )
