"""What a server counts, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The counters of one server, in a registry of their own.

    Attributes:
        requests: for embeddings, by status.
        seconds: from a request to its answer.
        texts: that were embedded, by "query" and "document".
        cut: those of them that were longer than the model reads.
        batch_texts: texts of a batch.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("cde_requests", "Requests for embeddings.", ["status"], registry=registry)
        self.seconds = Histogram(
            "cde_request_seconds", "Seconds from a request to its answer.", registry=registry, buckets=_SECONDS
        )
        self.texts = Counter("cde_texts", "Texts that were embedded.", ["input_type"], registry=registry)
        self.cut = Counter("cde_texts_cut", "Texts longer than the model reads.", registry=registry)
        self.batch_texts = Histogram(
            "cde_batch_texts", "Texts that were embedded in one call.", registry=registry, buckets=_TEXTS
        )
        self._waiting = Gauge("cde_waiting_texts", "Texts of requests that are not answered yet.", registry=registry)
        self._registry = registry

    def watch_queue(self, waiting: Callable[[], float]) -> None:
        """Show the number of waiting texts, asked whenever the page is."""
        self._waiting.set_function(waiting)

    def page(self) -> bytes:
        """Return the figures in Prometheus' text format."""
        return generate_latest(self._registry)
