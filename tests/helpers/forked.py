"""Use a model and an index, fork, and use them again in the child: `forked.py MODEL DIRECTORY inherited|own`.

With "own" the child loads both itself.
"""

import logging
import os
import signal
import sys

import faiss
import numpy as np
import torch

from cde_retrievers import ContextualEncoder
from cde_retrievers.index import ContextualIndex, compaction


def main(model: str, directory: str, whose: str) -> int:
    """Return 0 if the child found what its parent finds, with everything it needs computed in several threads."""
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    torch.set_num_threads(2)
    faiss.omp_set_num_threads(2)
    compaction.MIN_ROWS = 1
    encoder = ContextualEncoder.from_pretrained(model, "cpu", "float32")
    texts = [f"the {color} cat {n}" for n in range(200) for color in ("red", "green")]
    index = ContextualIndex.build(texts, encoder, directory, kind="ivf")
    expected = index.search(texts[:64], k=3)
    # As one batch of a model does, and certainly in more than one thread.
    _ = torch.ones(512, 512) @ torch.ones(512, 512)
    _ = torch.ones(1 << 20).exp()
    child = os.fork()
    if child == 0:
        signal.alarm(100)
        if whose == "own":
            encoder = ContextualEncoder.from_pretrained(model, "cpu", "float32")
            index = ContextualIndex.open(directory, encoder)
        found = index.search(texts[:64], k=3)
        same = [[hit.id for hit in hits] for hits in found] == [[hit.id for hit in hits] for hits in expected]
        _ = torch.ones(1 << 20).exp()
        close = np.allclose(
            index.vectors([expected[0][0].id]),
            encoder.encode_documents([expected[0][0].text], index.context),
            atol=1e-5,
        )
        os._exit(0 if same and close and torch.get_num_threads() == 1 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
