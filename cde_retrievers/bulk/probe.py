"""A fixed text whose vector tells a worker that computes as the planning machine did from one that does not."""

import numpy as np

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.cut_texts import counted_cut_texts
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.external.identity import PROBE
from cde_retrievers.validation.vectors import Vectors

TOLERANCES = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 3e-2}
"""Largest distance of two machines' unit vectors of the probe, by number format.

all-MiniLM-L6-v2 in every conditioning, alone or in a batch: at most 5.4e-7 apart in float32, 8.9e-4 in float16 and
8.4e-3 in bfloat16, and from its vector in float32 1.4e-3 and 1.4e-2. Noise of 0.1 % on its weights moves it by 3.6e-3.
"""


def probe_vector(encoder: ContextualEncoder, context: CorpusContext) -> Vectors:
    """Return the unit vector (W,) of the fixed text under a context."""
    with counted_cut_texts():  # it need not be read whole
        vector: Vectors = encoder.encode_documents([PROBE], context, show_progress=False)[0]
    return vector


def check_probe(planned: Vectors, found: Vectors, dtype: str) -> None:
    """Raise ContextMismatchError if the two vectors (W,) are further apart than the number format explains."""
    distance = float(np.linalg.norm(planned - found)) if planned.shape == found.shape else np.inf
    if not distance <= TOLERANCES[dtype]:
        raise ContextMismatchError(
            f"this worker computes other vectors than the machine that made the plan: those of a fixed text are "
            f"{distance:.1e} apart, and {TOLERANCES[dtype]:.0e} is what {dtype} explains; compare the versions of "
            f"torch and the drivers of the two, or make the plan on a machine like this one"
        )
