"""Calls of an external embedding, often a paid service, with retries and checked answers.

Axes: B texts of a call, W width.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from cde_retrievers.errors import CDEError, ConfigurationError, EmbeddingServiceError, shown
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.vectors import Embeddings, as_matrix

logger = logging.getLogger(__name__)

Vector = Sequence[float]
EmbedTexts = Callable[[list[str]], Sequence[Vector]]
EmbedText = Callable[[str], Vector]
_LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Settings for calls of a service.

    Attributes:
        batch_size: texts per call.
        retries: further attempts after a failed one.
        wait: seconds before the first of them; each next wait is twice as long, a minute at most.

    Raises:
        ConfigurationError: one of them is impossible.
    """

    batch_size: int = 256
    retries: int = 4
    wait: float = 1.0

    def __post_init__(self) -> None:
        check_whole("batch_size", self.batch_size, 1)
        check_whole("retries", self.retries, 0)
        if not isinstance(self.wait, Real) or not 0 <= self.wait < math.inf:
            raise ConfigurationError(f"wait must be a number of seconds of at least 0, found {shown(self.wait)}")

    def waits(self) -> Iterator[float]:
        """Yield the seconds to wait before each further attempt."""
        return (min(self.wait * 2.0**attempt, _LONGEST_WAIT) for attempt in range(self.retries))


DEFAULT_POLICY = RetryPolicy()


def embed_with_retries(
    embed: EmbedTexts, texts: list[str], policy: RetryPolicy, width: int | None = None
) -> Embeddings:
    """Embed one batch of texts -> vectors (B, W) float32, as the service gives them.

    Args:
        embed: the service.
        texts: B texts.
        policy: how often to try; its batch size is up to the caller.
        width: W, if known.

    Raises:
        EmbeddingServiceError: the last attempt failed too (its error is the cause), or the answer is not B finite,
            non-zero vectors of that width.
    """
    return _checked(_answer(embed, texts, policy), texts, width)


def _answer(embed: EmbedTexts, texts: list[str], policy: RetryPolicy) -> Sequence[Vector]:
    waits = policy.waits()
    while True:
        try:
            return embed(texts)
        except CDEError:
            raise  # an error of this library: waiting does not help
        except Exception as error:  # of any class; the last one becomes the cause
            wait = next(waits, None)
            if wait is None:
                raise EmbeddingServiceError(
                    f"the embedding failed {policy.retries + 1} times in a row, last with {type(error).__name__}: "
                    f"{str(error)[:300]}; try again later, or with more retries"
                ) from error
            logger.warning("the embedding failed (%s: %s), next attempt in %.1f s", type(error).__name__, error, wait)
            time.sleep(wait)


def _checked(answer: object, texts: list[str], width: int | None) -> Embeddings:
    vectors = as_matrix(answer, len(texts), width)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
    unusable = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(unusable):
        raise EmbeddingServiceError(
            f"the embedding returned a vector of zeros, NaN or infinities for the text "
            f"{texts[unusable[0]][:60]!r}; leave out texts without content"
        )
    return vectors
