"""The vector of one fixed text: how a model that is known by its name alone is recognised. Axis: W width."""

from threading import Lock

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.service import CallPolicy, EmbedTexts, call_service

PROBE = "What a model makes of this sentence tells it from others: naïve CAFÉ, 1,234.50 €, snake_case, 漢字."
SAME_MODEL = 0.999
"""Cosine of two probes from which they count as the same model's, since services round differently from day to day.

all-MiniLM-L6-v2 in bfloat16 is at .99994 of itself in float32, with weights rounded to 8 bits at .9993; random noise of
3 % on its weights brings it to .995, a layer less to .38.
"""


class Probe:
    """Embeds the fixed text on first need, and remembers its vector; safe to use from several threads.

    Args:
        name: of the model.
        embed: the model.
        policy: attempts.
    """

    def __init__(self, name: str, embed: EmbedTexts, policy: CallPolicy) -> None:
        self._name = name
        self._embed = embed
        self._policy = policy
        self._vector: NDArray[np.float32] | None = None
        self._lock = Lock()

    @property
    def vector(self) -> NDArray[np.float32]:
        """The unit vector (W,) of the fixed text.

        Raises:
            EmbeddingServiceError: it could not be had.
        """
        with self._lock:
            if self._vector is None:
                vector = call_service(self._embed, [PROBE], self._policy)[0]
                self._vector = vector / np.linalg.norm(vector)
            return self._vector

    def check(self, theirs: NDArray[np.float32]) -> None:
        """Raise ContextMismatchError unless a probe (W,) of another day is the same model's."""
        if len(theirs) != len(self.vector):
            raise self._changed(f"its vectors had {len(theirs)} numbers, now they have {len(self.vector)}")
        cosine = float(theirs @ self.vector)
        if not cosine >= SAME_MODEL:
            raise self._changed(f"a fixed text's vectors, then and now, have cosine {cosine:.4f}, not {SAME_MODEL}")

    def _changed(self, finding: str) -> ContextMismatchError:
        return ContextMismatchError(
            f"the model behind the name {self._name!r} has changed since the context was fitted: {finding}; go back to "
            f"the former model, or fit a new context and embed the corpus again"
        )
