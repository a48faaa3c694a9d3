"""Identity of an external embedding: its name, its probe vector, and whether it can be pickled."""

import pickle
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.external.retries import EmbedTexts, RetryPolicy, embed_with_retries

PROBE = "What a model makes of this sentence tells it from others: naïve CAFÉ, 1,234.50 €, snake_case, 漢字."
SAME_MODEL = 0.999
"""Lowest cosine at which two probes count as the same model's, since services round differently from day to day.

all-MiniLM-L6-v2 in bfloat16 is at .99994 of itself in float32, with weights rounded to 8 bits at .9993; random noise of
3 % on its weights brings it to .995, a layer less to .38.
"""


class Probe:
    """Embeds the fixed text at first use and keeps its vector; safe to use from several threads.

    Args:
        name: name of the model.
        embed: the model.
        policy: how often to try.
    """

    def __init__(self, name: str, embed: EmbedTexts, policy: RetryPolicy) -> None:
        self._name = name
        self._embed = embed
        self._policy = policy
        self._vector: NDArray[np.float32] | None = None
        self._lock = Lock()

    @property
    def vector(self) -> NDArray[np.float32]:
        """The unit vector (W,) of the fixed text.

        Raises:
            EmbeddingServiceError: it could not be computed.
        """
        with self._lock:
            if self._vector is None:
                vector = embed_with_retries(self._embed, [PROBE], self._policy)[0]
                self._vector = vector / np.linalg.norm(vector)
            return self._vector

    def check(self, theirs: NDArray[np.float32]) -> None:
        """Raise ContextMismatchError unless an earlier probe (W,) is from the same model."""
        if len(theirs) != len(self.vector):
            raise self._changed(f"its vectors had {len(theirs)} numbers, now they have {len(self.vector)}")
        cosine = float(theirs @ self.vector)
        if not cosine >= SAME_MODEL:
            raise self._changed(f"a fixed text's vectors, then and now, have cosine {cosine:.4f}, not {SAME_MODEL}")

    def _changed(self, finding: str) -> ContextMismatchError:
        return ContextMismatchError(
            f"the model named {self._name!r} has changed since the context was fitted: {finding}; go back to "
            f"the former model, or fit a new context and embed the corpus again"
        )


_NAMELESS = ("", "unknown")  # the latter is what LlamaIndex calls a model without a name


def name_of_base(base: object, given: str | None) -> str:
    """Return the name of a base's model: `given`, or else the base's own `model_name` or `model`.

    Raises:
        ConfigurationError: it has none.
    """
    for name in (given, getattr(base, "model_name", None), getattr(base, "model", None)):
        if isinstance(name, str) and name not in _NAMELESS:
            return name
    raise ConfigurationError(
        f"{type(base).__name__} does not name its model, which a context must record; give base_name='...', "
        f"and a new name when the model changes"
    )


def require_picklable(base: object) -> None:
    """Raise ConfigurationError unless the base can be pickled for another process.

    The pickle is neither read nor stored here.
    """
    try:
        pickle.dumps(base)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"the base {type(base).__name__} cannot be pickled ({error}); save the context with save_context(path), "
            f"then construct the base in the other process and pass it with context_path=path"
        ) from error
