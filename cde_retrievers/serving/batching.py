"""A bounded queue of texts to embed, whose one thread puts the texts of concurrent requests together."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread

import numpy as np

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.errors import QueueClosedError, QueueFullError
from cde_retrievers.validation.texts import Role
from cde_retrievers.validation.vectors import Embeddings

Embed = Callable[[list[str], CorpusContext, Role], Embeddings]


@dataclass(eq=False, slots=True)
class _Job:
    """The texts of one request, and the vectors that they have so far."""

    texts: Sequence[str]
    context: CorpusContext
    role: Role
    future: "Future[Embeddings]" = field(default_factory=Future)
    parts: list[Embeddings] = field(default_factory=list)
    done: int = 0

    @property
    def kind(self) -> tuple[str, str, Role]:
        """What jobs must have in common to be embedded together."""
        return self.context.fingerprint, self.context.checksum, self.role


@dataclass(frozen=True, slots=True)
class _Piece:
    """The next texts of a job."""

    job: _Job
    texts: Sequence[str]


class BatchingQueue:
    """Embeds the texts of many callers, in batches of one context and one role, in the order they came.

    A long request is embedded a batch at a time and goes to the end of the queue after each, so that short ones do not
    wait for all of it. A request whose future is cancelled is left out of further batches. Safe to use from several
    threads.

    Args:
        embed: embeds up to `batch_texts` texts under a context, in the queue's own thread.
        batch_texts: texts of one call of `embed`.
        max_waiting_texts: texts of requests that are accepted and not answered yet.
        observe: called with the number of texts of each batch.
    """

    def __init__(
        self,
        embed: Embed,
        batch_texts: int,
        max_waiting_texts: int,
        observe: Callable[[int], object] = lambda texts: None,
    ) -> None:
        self._embed = embed
        self._batch_texts = batch_texts
        self._max_waiting_texts = max_waiting_texts
        self._observe = observe
        self._jobs: deque[_Job] = deque()
        self._waiting = 0
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name="embedding", daemon=True)
        self._thread.start()

    @property
    def waiting_texts(self) -> int:
        """Texts of all requests that have no answer yet."""
        return self._waiting

    @property
    def is_running(self) -> bool:
        """Whether texts are embedded."""
        return self._thread.is_alive()

    def check_room(self, texts: int) -> None:
        """Raise what `submit` would raise now for so many texts."""
        if self._closed:
            raise QueueClosedError("the server is stopping; send the request again when it runs")
        if self._waiting + texts > self._max_waiting_texts:
            raise QueueFullError(
                f"{self._waiting:,} texts are waiting to be embedded, and with the {texts:,} of this request they "
                f"would be more than {self._max_waiting_texts:,}; send it again later, or fewer at a time"
            )

    def submit(self, texts: Sequence[str], context: CorpusContext, role: Role) -> "Future[Embeddings]":
        """Return the future vectors (n, width) of n texts; at least one. Cancelling it saves the work.

        Raises:
            QueueFullError: too many texts are waiting.
            QueueClosedError: the queue was closed.
        """
        job = _Job(texts, context, role)
        with self._changed:
            self.check_room(len(texts))
            self._waiting += len(texts)
            self._jobs.append(job)
            self._changed.notify()
        job.future.add_done_callback(lambda _: self._forget(job))
        return job.future

    def close(self) -> None:
        """Embed no further batch; the futures that have no result get a QueueClosedError."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        for job in list(self._jobs):
            _fail(job, QueueClosedError("the server has stopped; send the request again when it runs"))

    def _forget(self, job: _Job) -> None:
        with self._changed:
            self._waiting -= len(job.texts)
            if job in self._jobs:
                self._jobs.remove(job)

    def _run(self) -> None:
        while pieces := self._next_pieces():
            self._observe(sum(len(piece.texts) for piece in pieces))
            self._embed_pieces(pieces)

    def _next_pieces(self) -> list[_Piece]:
        """Wait for texts, and return those of the first job and of others like it; none once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._open_jobs())
            if self._closed:
                return []
            jobs, pieces, room = self._open_jobs(), [], self._batch_texts
            for job in jobs:
                if room and job.kind == jobs[0].kind:
                    pieces.append(_Piece(job, job.texts[job.done : job.done + room]))
                    room -= len(pieces[-1].texts)
            for piece in pieces:
                self._jobs.remove(piece.job)
                self._jobs.append(piece.job)
            return pieces

    def _open_jobs(self) -> list[_Job]:
        # One that was cancelled just now may not have been forgotten yet.
        return [job for job in self._jobs if not job.future.done()]

    def _embed_pieces(self, pieces: list[_Piece]) -> None:
        first = pieces[0].job
        try:
            vectors = self._embed([text for piece in pieces for text in piece.texts], first.context, first.role)
        except Exception as error:
            if len(pieces) == 1:
                _fail(first, error)
                return
            for piece in pieces:  # the fault of one request is not to fail the others
                self._embed_pieces([piece])
            return
        ends = np.cumsum([len(piece.texts) for piece in pieces])
        for piece, part in zip(pieces, np.split(vectors, ends[:-1]), strict=True):
            _add(piece.job, part)


def _add(job: _Job, part: Embeddings) -> None:
    job.parts.append(part)
    job.done += len(part)
    if job.done == len(job.texts) and job.future.set_running_or_notify_cancel():
        job.future.set_result(np.concatenate(job.parts))


def _fail(job: _Job, error: Exception) -> None:
    if job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)
