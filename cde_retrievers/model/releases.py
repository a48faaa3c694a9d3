"""The published architectures, cde-small-v1 and -v2, and the settings of their backbones (docs/method.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Release:
    """One published architecture.

    Attributes:
        model_type: its backbone's family.
        embedder: the backbone's hub name in its `config.json`; also the source of its tokenizer.
        tokenizer: the repository with the tokenizer.
        mark: part of a weight's name that only this architecture has.
        skips_prompt: whether its `train` variant leaves prompts out of the pooling.
        backbone: settings of the published size.
    """

    model_type: str
    embedder: str
    tokenizer: str
    mark: str
    skips_prompt: bool
    backbone: Mapping[str, Any]


_DROPOUT = {name: 0.0 for name in ("hidden_dropout_prob", "attention_probs_dropout_prob")}
RELEASES = (
    Release(
        model_type="nomic_bert",
        embedder="nomic-ai/nomic-bert-2048",
        tokenizer="google-bert/bert-base-uncased",
        mark=".emb_ln.",
        skips_prompt=False,
        backbone={
            "vocab_size": 30_528,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3_072,
            "hidden_act": "silu",
            "max_position_embeddings": 2_048,
            "type_vocab_size": 2,
            "layer_norm_eps": 1e-12,
            "pad_token_id": 0,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000.0},
            **_DROPOUT,
        },
    ),
    Release(
        model_type="modernbert",
        embedder="answerdotai/ModernBERT-base",
        tokenizer="answerdotai/ModernBERT-base",
        mark=".tok_embeddings.",
        skips_prompt=True,
        backbone={
            "vocab_size": 50_368,
            "hidden_size": 768,
            "num_hidden_layers": 22,
            "num_attention_heads": 12,
            "intermediate_size": 1_152,
            "hidden_activation": "gelu",
            "max_position_embeddings": 8_192,
            "norm_eps": 1e-5,
            "norm_bias": False,
            "attention_bias": False,
            "mlp_bias": False,
            "layer_types": ["sliding_attention" if i % 3 else "full_attention" for i in range(22)],
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 160_000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            },
            "local_attention": 128,
            "pad_token_id": 50_283,
            "embedding_dropout": 0.0,
            "attention_dropout": 0.0,
            "mlp_dropout": 0.0,
        },
    ),
)
