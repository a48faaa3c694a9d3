"""Attention of texts to their own tokens and to a context, under one softmax.

Two functions compute the same. `attend_in_cascade` attends to either part alone and weighs the two by their softmax
sums: texts share the context's keys and values, which are never copied. `attend_to_concatenation` copies them for
every text; it has gradients, and runs on every device.

Axes: B texts, L tokens, N context vectors, H heads, D head width.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True, slots=True)
class LayerContext:
    """One layer's keys and values of the context, each (1 or B, H, N, D)."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True, slots=True)
class TextHeads:
    """Queries, keys and values of the texts, each (B, H, L, D), and how they attend to one another.

    Attributes:
        queries: of the texts.
        keys: likewise.
        values: likewise.
        mask: (B, 1, L, L), False for what is not attended to; None where nothing is left out.
        scaling: of the logits; None for one over the square root of D.
        dropout: probability with which an attention weight is dropped.
    """

    queries: Tensor
    keys: Tensor
    values: Tensor
    mask: Tensor | None
    scaling: float | None
    dropout: float

    def attend(self) -> Tensor:
        """Attend to the text's own tokens alone -> (B, H, L, D)."""
        return scaled_dot_product_attention(
            self.queries, self.keys, self.values, self.mask, self.dropout, scale=self.scaling
        )


def attend_under(context: LayerContext, texts: TextHeads, strength: Tensor) -> Tensor:
    """Attend to the text alone, and add `strength` times the difference that the context makes.

    Args:
        context: keys and values.
        texts: the heads of the texts.
        strength: (H,); 0 for attention to the text alone, 1 for attention to both.

    Returns:
        (B, H, L, D).
    """
    attend = attend_in_cascade if _cascades(context, texts) else attend_to_concatenation
    return attend(context, texts, strength)


def _cascades(context: LayerContext, texts: TextHeads) -> bool:
    """Whether the cascade computes this: the kernel it needs is the CPU's, and gives softmax sums without a gradient.

    Only in inference mode: with gradient caching, passes with and without gradients must round alike. An exported graph
    must not contain it either, since torch decomposes the kernel into operations that do not give the sums. A version
    of torch without the kernel computes by the concatenation.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    inference = torch.is_inference_mode_enabled() and texts.dropout == 0
    on_cpu = texts.queries.device.type == "cpu"
    shared = context.keys.shape[0] == 1
    return inference and on_cpu and not traced and shared and _kernel_is_as_expected()


def attend_to_concatenation(context: LayerContext, texts: TextHeads, strength: Tensor) -> Tensor:
    """Attend to the context and the text as one sequence, copied for every text; otherwise as `attend_under`."""
    copies = (texts.queries.shape[0], -1, -1, -1)
    keys = torch.cat([context.keys.expand(copies), texts.keys], dim=2)
    values = torch.cat([context.values.expand(copies), texts.values], dim=2)
    mask = texts.mask
    if mask is not None:
        always = mask.new_ones(*mask.shape[:-1], context.keys.shape[2])
        mask = torch.cat([always, mask], dim=-1)
    own = texts.attend()
    both = TextHeads(texts.queries, keys, values, mask, texts.scaling, texts.dropout).attend()
    return own + strength.view(1, -1, 1, 1) * (both - own)


def attend_in_cascade(context: LayerContext, texts: TextHeads, strength: Tensor) -> Tensor:
    """Attend to the text and to the context apart, and merge; no gradient; otherwise as `attend_under`.

    With softmax sums exp(t) over the text and exp(c) over the context, attention to both is the mean of the two results
    with the weights exp(t) and exp(c), so the context's share is sigmoid(c - t).
    """
    own, own_sum = _attend_with_log_sum(texts.queries, texts.keys, texts.values, texts.mask, texts.scaling)
    queries = _as_one_text(texts.queries)
    foreign, foreign_sum = _attend_with_log_sum(queries, context.keys, context.values, None, texts.scaling)
    batch, heads, length, width = own.shape
    # Of (1, H, B * L, D) and (1, H, B * L), laid out with heads after tokens.
    foreign = foreign.transpose(1, 2).reshape(batch, length, heads, width).transpose(1, 2)
    foreign_sum = foreign_sum.view(heads, batch, length).transpose(0, 1)
    share = torch.sigmoid(foreign_sum - own_sum).unsqueeze(-1) * strength.view(1, -1, 1, 1)
    return own.lerp_(foreign, share.to(own.dtype))


def _as_one_text(heads: Tensor) -> Tensor:
    """(B, H, L, D) -> (1, H, B * L, D): a view, as transformers lays heads out."""
    batch, count, length, width = heads.shape
    return heads.transpose(1, 2).reshape(1, batch * length, count, width).transpose(1, 2)


def _attend_with_log_sum(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scaling: float | None
) -> tuple[Tensor, Tensor]:
    """Return the attention (B, H, L, D), and the logarithms of the softmax sums (B, H, L) in float32 or wider."""
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=queries.dtype).masked_fill_(~mask, -torch.inf)
    # What `scaled_dot_product_attention` calls on a CPU; no public function of torch returns the sums. Since it is
    # private, `_kernel_is_as_expected` tries it first.
    attended, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        queries, keys, values, attn_mask=mask, scale=scaling
    )
    return attended, log_sum


@cache
def _kernel_is_as_expected() -> bool:
    """Whether this version of torch has the kernel, with the signature and the results that the cascade relies on."""
    queries = torch.linspace(-2, 2, 12, dtype=torch.float32, device="cpu").view(1, 1, 3, 4)
    keys, values = queries.flip(2), queries.flip(3)
    mask = torch.tensor([True, True, False], device="cpu").expand(1, 1, 3, 3)
    logits = (0.3 * queries @ keys.mT).masked_fill(~mask, -torch.inf)
    expected = torch.softmax(logits, dim=-1) @ values, torch.logsumexp(logits, dim=-1)
    try:
        found = _attend_with_log_sum(queries, keys, values, mask, 0.3)
        return all(a.shape == b.shape and torch.allclose(a, b, atol=1e-4) for a, b in zip(found, expected, strict=True))
    except (AttributeError, TypeError, ValueError, RuntimeError):  # it is not there, or takes or returns something else
        return False
