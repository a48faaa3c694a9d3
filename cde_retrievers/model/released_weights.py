"""Conversion of weight names between the published layout and ours (docs/method.md, Weights)."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from cde_retrievers.errors import CheckpointError

_STAGES = {
    "first_stage_model.embedder.": "first_stage.backbone.",
    "first_stage_model.mlp.": "first_stage.mlp.",
    "second_stage_model.backbone.": "second_stage.backbone.",
    "second_stage_model.prompt_projection.": "second_stage.prompt_projection.",
    "second_stage_model.output_projection.": "second_stage.output_projection.",
    "second_stage_model.sequence_dropout_null_embedding": "second_stage.null_vector",
}
# ModernBERT's native class already has the published names.
_NOMIC_NAMES = {
    ".emb_ln.": ".embeddings.LayerNorm.",
    ".encoder.layers.": ".layers.",
    ".attn.out_proj.": ".self_attn.o_proj.",
    ".mlp.fc11.": ".mlp.up_proj.",
    ".mlp.fc12.": ".mlp.gate_proj.",
    ".mlp.fc2.": ".mlp.down_proj.",
    ".norm1.": ".post_attention_layernorm.",
    ".norm2.": ".post_mlp_layernorm.",
}
_FUSED = ".attn.Wqkv."
_SPLIT = (".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj.")


def native_weights(model_type: str, published: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Yield published weights under the names of `ContextualModel`, one by one to avoid a second copy in memory.

    Raises:
        CheckpointError: a weight that holds several of ours cannot be divided into them.
    """
    for name, tensor in published:
        name = _renamed(name, _STAGES)
        if model_type != "nomic_bert":
            yield name, tensor
        elif _FUSED in name:
            name = _renamed(name, _NOMIC_NAMES)
            if tensor.dim() == 0 or tensor.shape[0] % len(_SPLIT):
                raise CheckpointError(
                    f"the weight {name} has shape {tuple(tensor.shape)}, whose rows are not {len(_SPLIT)} equal parts; "
                    f"fetch the model again"
                )
            for part, third in zip(_SPLIT, tensor.chunk(3), strict=True):
                yield name.replace(_FUSED, part), third
        else:
            yield _renamed(name, _NOMIC_NAMES), tensor


def published_weights(model_type: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `native_weights`."""
    names = {ours: theirs for theirs, ours in _STAGES.items()}
    if model_type == "nomic_bert":
        weights = _fused(weights)
        # Ours first: the stage's prefix has a dot before "layers" only in our names.
        names = {**{ours: theirs for theirs, ours in _NOMIC_NAMES.items()}, **names}
    return {_renamed(name, names): tensor for name, tensor in weights.items()}


def _fused(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    result = {name: tensor for name, tensor in weights.items() if not any(part in name for part in _SPLIT)}
    for name in weights:
        if _SPLIT[0] in name:
            thirds = [weights[name.replace(_SPLIT[0], part)] for part in _SPLIT]
            result[name.replace(_SPLIT[0], _FUSED)] = torch.cat(thirds)
    return result


def _renamed(name: str, renames: Mapping[str, str]) -> str:
    for old, new in renames.items():
        name = name.replace(old, new)
    return name
