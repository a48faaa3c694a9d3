"""A fake embedding service that counts what it is paid for, and fails or changes on request."""

import hashlib
from collections.abc import Iterator

import numpy as np

from cde_retrievers.external.identity import PROBE


class PaidService:
    """Random vectors that depend on the text and `model` alone, around a common mean; remembers every text embedded.

    Attributes:
        model: changing it is what a service does silently.
        noise: relative size of what differs from call to call.
        failing: whether each next call fails; never any more when it has run out.
        paid: texts embedded, in order, the probe among them.
        calls: how many texts each successful call had.
    """

    def __init__(self, width: int = 24, model: str = "a", noise: float = 0.0) -> None:
        self.width = width
        self.model = model
        self.noise = noise
        self.failing: Iterator[bool] = iter(())
        self.paid: list[str] = []
        self.calls: list[int] = []
        self._random = np.random.default_rng(0)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._vector(text, "") for text in self._charge(texts)]

    def embed_query(self, text: str) -> list[float]:
        return self._vector(*self._charge([text]), "query: ")

    @property
    def bill(self) -> list[str]:
        """What was paid for besides the probe."""
        return [text for text in self.paid if text != PROBE]

    def _charge(self, texts: list[str]) -> list[str]:
        if next(self.failing, False):
            raise ConnectionError("429 too many requests")
        self.paid += texts
        self.calls.append(len(texts))
        return texts

    def _vector(self, text: str, prompt: str) -> list[float]:
        seed = hashlib.sha256(f"{self.model}|{prompt}{text}".encode()).digest()
        exact = 0.5 + np.random.default_rng(int.from_bytes(seed[:8], "big")).normal(size=self.width)
        noise = self.noise * np.linalg.norm(exact) / self.width**0.5 * self._random.normal(size=self.width)
        vector: list[float] = (3 * (exact + noise)).tolist()  # not of unit length
        return vector
