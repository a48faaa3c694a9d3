"""Slow, obvious forward passes that the library's fast ones must equal. Axes: T positions, W width."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, softmax


def bert_layers(
    bert: nn.Module, hidden: Tensor, allowed: Tensor, own: Tensor | None = None, gate: Tensor | None = None
):
    """Every BERT layer over one sequence, head by head.

    hidden (T, W), after the embedding's layer norm; allowed (T, T): row attends to column. With `own` (T, T) and
    `gate` (layers, heads), a head gives own + gate (allowed - own): attention under either mask, interpolated.
    """
    for number, layer in enumerate(bert.encoder.layer):
        attention = layer.attention
        heads = attention.self.num_attention_heads
        queries, keys, values = (
            project(hidden).chunk(heads, dim=-1)
            for project in (attention.self.query, attention.self.key, attention.self.value)
        )
        outputs = []
        for head in range(heads):
            scores = queries[head] @ keys[head].T / math.sqrt(queries[head].shape[-1])
            output = softmax(scores.masked_fill(~allowed, -torch.inf), dim=-1) @ values[head]
            if own is not None:
                alone = softmax(scores.masked_fill(~own, -torch.inf), dim=-1) @ values[head]
                output = alone + gate[number, head] * (output - alone)
            outputs.append(output)
        attended = attention.output.dense(torch.cat(outputs, dim=-1))
        hidden = attention.output.LayerNorm(hidden + attended)
        hidden = layer.output.LayerNorm(hidden + layer.output.dense(gelu(layer.intermediate.dense(hidden))))
    return hidden


def embed_tokens(bert: nn.Module, token_ids: Tensor) -> Tensor:
    """Token ids (T,) at positions 0, 1, ... -> (T, W), normed."""
    table = bert.embeddings
    positions = table.position_embeddings.weight[: len(token_ids)]
    return _norm(table, table.word_embeddings.weight[token_ids] + positions + table.token_type_embeddings.weight[0])


def embed_vectors(bert: nn.Module, vectors: Tensor) -> Tensor:
    """Vectors (T, W) without any position -> (T, W), normed."""
    return _norm(bert.embeddings, vectors + bert.embeddings.token_type_embeddings.weight[0])


def _norm(table: nn.Module, values: Tensor) -> Tensor:
    return layer_norm(values, values.shape[-1:], table.LayerNorm.weight, table.LayerNorm.bias, table.LayerNorm.eps)


def biencoder(bert: nn.Module, token_ids: Tensor) -> Tensor:
    """The plain bi-encoder: mean of the states of one text's tokens, (W,)."""
    everything = torch.ones(len(token_ids), len(token_ids), dtype=torch.bool)
    return bert_layers(bert, embed_tokens(bert, token_ids), everything).mean(dim=0)


def joint(second: nn.Module, token_ids: Tensor, context: Tensor) -> Tensor:
    """`[context][soft prompt][text]` as one sequence, text pooled, projection added; context (N, W) -> (W,)"""
    hidden = second.prompt_projection[0](torch.ones(context.shape[-1]))
    prompt = second.prompt_projection[2](torch.relu(hidden)).reshape(-1, context.shape[-1])
    prefix = embed_vectors(second.backbone, torch.cat([context, prompt]))
    sequence = torch.cat([prefix, embed_tokens(second.backbone, token_ids)])
    everything = torch.ones(len(sequence), len(sequence), dtype=torch.bool)
    pooled = bert_layers(second.backbone, sequence, everything)[len(prefix) :].mean(dim=0)
    return pooled + second.output_projection[2](torch.relu(second.output_projection[0](pooled)))


def cached(second: nn.Module, token_ids: Tensor, context: Tensor) -> Tensor:
    """Context and text as one sequence under the one-way mask, gated; context (N, W) -> (W,)"""
    prefix = embed_vectors(second.backbone, second.context_projection(context))
    sequence = torch.cat([prefix, embed_tokens(second.backbone, token_ids)])
    is_text = torch.arange(len(sequence)) >= len(prefix)
    own = is_text[:, None] == is_text[None, :]
    one_way = own | is_text[:, None]
    states = bert_layers(second.backbone, sequence, one_way, own, torch.tanh(second.gate))
    return states[len(prefix) :].mean(dim=0)
