"""Whether an export computes what the first stage computes. Axes: B texts, L tokens, W width."""

import numpy as np
import torch
from torch.nn.functional import cosine_similarity

from cde_retrievers.encoder.backends.runtime import Graph
from cde_retrievers.model.first_stage import FirstStage

_SHAPES = ((1, 1), (3, 5), (1, 300))


def lowest_cosine(graph: Graph, stage: FirstStage, longest: int) -> float:
    """Return the lowest cosine of a text's vectors in both, over texts of few tokens and of many.

    An exporter may take the shape of its example for a constant, which only other shapes show.

    Args:
        graph: the export.
        stage: in float32, on the CPU, in evaluation mode.
        longest: the largest L.
    """
    generator = np.random.default_rng(0)
    lowest = 1.0
    for texts, tokens in _SHAPES:
        tokens = min(tokens, longest)
        input_ids = generator.integers(0, stage.backbone.config.vocab_size, (texts, tokens))
        # The first text is whole, and each further one a token shorter.
        attention_mask = (np.arange(tokens) < tokens - np.arange(texts)[:, np.newaxis]).astype(np.int64)
        attention_mask[:, 0] = 1
        with torch.inference_mode():
            expected = stage.pooled(torch.from_numpy(input_ids), torch.from_numpy(attention_mask))
        found = torch.from_numpy(graph(input_ids, attention_mask))
        lowest = min(lowest, *cosine_similarity(found, expected, dim=1).tolist(), key=_below)
    return lowest


def _below(cosine: float) -> float:
    return -np.inf if np.isnan(cosine) else cosine
