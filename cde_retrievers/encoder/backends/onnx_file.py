"""Writing a first stage as an ONNX file, which every backend reads. Axes: B texts, L tokens, W width."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from cde_retrievers.model.first_stage import FirstStage

_INPUTS = ("input_ids", "attention_mask")
_EXAMPLE = (2, 8)
_TALKATIVE = ("torch.onnx", "torch.export", "onnx_ir", "onnxscript")


def write_onnx(stage: FirstStage, path: Path, longest: int) -> None:
    """Write the map from token ids and mask (B, L) to plain vectors (B, W), for every B and every L up to `longest`.

    Args:
        stage: in float32, on the CPU, in evaluation mode.
        path: of the file.
        longest: the largest L.
    """
    texts, tokens = torch.export.Dim("texts", min=1), torch.export.Dim("tokens", min=1, max=longest)
    # Two tensors: if one stood for both inputs, the exporter would take them for the same in every batch.
    example = [torch.ones((_EXAMPLE[0], min(_EXAMPLE[1], longest)), dtype=torch.long) for _ in _INPUTS]
    with torch.no_grad(), _quietly():
        program = torch.onnx.export(
            _Pooled(_with_plain_attention(stage)).eval(),
            tuple(example),
            dynamo=True,
            verbose=False,
            input_names=_INPUTS,
            output_names=("vectors",),
            dynamic_shapes={name: {0: texts, 1: tokens} for name in _INPUTS},
        )
        assert program is not None
        program.save(path)


def _with_plain_attention(stage: FirstStage) -> FirstStage:
    """Return a copy whose attention is written out as products and a softmax.

    The exporter adds to torch's fused attention a look for rows that are masked as a whole, which no text has. Its cost
    grows with the square of the length.
    """
    copy = deepcopy(stage)
    copy.backbone.set_attn_implementation("eager")
    return copy


class _Pooled(nn.Module):
    """The first stage without its projection."""

    def __init__(self, stage: FirstStage) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map (B, L) and (B, L) -> (B, W)."""
        return self.stage.pooled(input_ids, attention_mask)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's remarks on its own inner workings from the user; its errors still reach the caller."""
    levels = {logger: logger.level for logger in map(logging.getLogger, _TALKATIVE)}
    try:
        for logger in levels:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
