"""Answers to requests for embeddings: the context, the queue, and who has gone meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.cut_texts import counted_cut_texts
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import CDEError, QueueClosedError, QueueFullError, RequestError
from cde_retrievers.serving.batching import BatchingQueue
from cde_retrievers.serving.contexts import SIDES_BEGIN, ContextDirectory
from cde_retrievers.serving.metrics import Metrics
from cde_retrievers.serving.settings import ServingSettings
from cde_retrievers.serving.wire import EmbeddingRequest, answer, parse_request, parts_of_name
from cde_retrievers.validation.texts import Role
from cde_retrievers.validation.vectors import Embeddings

Gone = Callable[[], Coroutine[Any, Any, None]]
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of an answer, and what its headers say.

    Attributes:
        body: JSON.
        context: fingerprint of the context of the embeddings.
        cut: number of texts that were longer than the model reads.
    """

    body: bytes
    context: str
    cut: int


class EmbeddingService:
    """Embeds the texts of requests under the contexts of a directory, several requests in one batch.

    Args:
        encoder: the model.
        contexts: the contexts that there are.
        settings: the limits.
        metrics: where to count.
    """

    def __init__(
        self, encoder: ContextualEncoder, contexts: ContextDirectory, settings: ServingSettings, metrics: Metrics
    ) -> None:
        self.contexts = contexts
        self._encoder = encoder
        self._settings = settings
        self._metrics = metrics
        self._requests = 0
        self._queue = BatchingQueue(
            self._embed, settings.batch_texts, settings.max_waiting_texts, metrics.batch_texts.observe
        )
        metrics.watch_queue(lambda: self._queue.waiting_texts)

    @property
    def is_running(self) -> bool:
        """Whether requests are answered."""
        return self._queue.is_running

    def close(self) -> None:
        """Answer no further requests."""
        self._queue.close()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request while the block runs; its body is read inside.

        Raises:
            RequestError: there are too many.
        """
        if self._requests >= self._settings.max_requests:
            raise RequestError(
                429, "too_many_requests", f"{self._requests:,} requests are being answered; send this one again later"
            )
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    async def answer(self, body: bytes, gone: Gone) -> Answer | None:
        """Return the answer to a request; None if the client went before there was one.

        The context is the one that has the name when the request arrives, also if it is replaced or removed before the
        answer.

        Args:
            body: of the request.
            gone: waits until the client goes.

        Raises:
            RequestError: the request cannot be answered.
        """
        request, texts, context = await asyncio.to_thread(self._read, body)
        with _refusals():
            self._queue.check_room(len(texts))  # before its tokens are counted, which takes time too
        tokens, cut = await asyncio.to_thread(self._count, texts, request.role)
        vectors = await self._vectors(texts, context, request.role, gone)
        if vectors is None:
            return None
        self._metrics.texts.labels(request.role).inc(len(texts))
        self._metrics.cut.inc(cut)
        model = f"{context.fingerprint}{SIDES_BEGIN}{request.role}"
        content = await asyncio.to_thread(answer, vectors, model, tokens, request.encoding_format)
        return Answer(content, context.fingerprint, cut)

    def _read(self, body: bytes) -> tuple[EmbeddingRequest, list[str], CorpusContext]:
        request = parse_request(body)
        context = self.context(parts_of_name(request.model)[0])
        if request.dimensions not in (None, self._encoder.width):
            raise RequestError(
                400,
                "dimensions",
                f"embeddings of this model have {self._encoder.width} dimensions, and {request.dimensions} are asked "
                f"for; leave dimensions out",
            )
        _ = request.role  # before the work
        return request, request.texts(self._settings.max_texts), context

    def context(self, name: str) -> CorpusContext:
        """Return the context with that alias or fingerprint.

        Raises:
            RequestError: there is none, or it cannot be used.
        """
        try:
            context = self.contexts.find(name)
        except CDEError as error:
            raise RequestError(
                503, "context_unavailable", f"the context {name!r} cannot be used; the server's log says why"
            ) from error
        if context is None:
            raise RequestError(404, "model_not_found", self._what_there_is(name))
        return context

    def _what_there_is(self, name: str) -> str:
        aliases = list(self.contexts.all())
        listed = ", ".join(aliases[:_NAMED]) + (f" and {len(aliases) - _NAMED:,} more" if len(aliases) > _NAMED else "")
        return (
            f"there is no context {name[:100]!r}. A model's name is the name of a context or its fingerprint, with "
            f"':query' or ':document' after it. There are: {listed or 'none'}; GET /v1/models lists them with their "
            f"fingerprints"
        )

    def _count(self, texts: list[str], role: Role) -> tuple[int, int]:
        """Return how many tokens the model reads, and how many texts it reads in part only."""
        config = self._encoder.config
        prompt = config.query_prompt if role == "query" else config.document_prompt
        with counted_cut_texts() as counted:
            tokens = sum(len(row) for row in self._encoder.tokenizer.encode([prompt + text for text in texts]))
        return tokens, counted.cut

    async def _vectors(self, texts: list[str], context: CorpusContext, role: Role, gone: Gone) -> Embeddings | None:
        with _refusals():
            future = asyncio.wrap_future(self._queue.submit(texts, context, role))
        leaving = asyncio.create_task(gone())
        either: set[asyncio.Future[Any]] = {future, leaving}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            with _refusals():
                return future.result() if future.done() else None
        finally:
            future.cancel()
            leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving

    def _embed(self, texts: list[str], context: CorpusContext, role: Role) -> Embeddings:
        encode = self._encoder.encode_queries if role == "query" else self._encoder.encode_documents
        with counted_cut_texts():  # each request has counted its own
            return encode(texts, context, show_progress=False)


@contextmanager
def _refusals() -> Iterator[None]:
    """Raise what the queue refuses as errors of the request."""
    try:
        yield
    except QueueFullError as error:
        raise RequestError(429, "queue_full", str(error)) from error
    except QueueClosedError as error:
        raise RequestError(503, "stopping", str(error)) from error
