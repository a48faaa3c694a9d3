"""Attention to a context and a text against one softmax over both, written out in float64."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from cde_retrievers.model import context_attention
from cde_retrievers.model.context_attention import (
    LayerContext,
    TextHeads,
    attend_in_cascade,
    attend_to_concatenation,
    attend_under,
)

TEXTS, HEADS, TOKENS, WIDTH = 3, 2, 5, 4
STRENGTH = torch.tensor([0.3, 1.0])
KERNEL = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def heads_of(texts=TEXTS, tokens=TOKENS, seed=0, spread=1.0):
    """Laid out as transformers does: a view of (B, L, H, D)."""
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randn(3, texts, tokens, HEADS, WIDTH, generator=generator).transpose(2, 3)
    lengths = torch.arange(texts) % tokens + 1
    mask = (torch.arange(tokens) < lengths[:, None])[:, None, None].expand(-1, 1, tokens, -1)
    return TextHeads(spread * parts[0], parts[1], parts[2], mask, None, 0.0)


def context_of(size=7, contexts=1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, contexts, size, HEADS, WIDTH, generator=generator).transpose(2, 3)
    return LayerContext(keys, values)


def written_out(context, texts, strength):
    """Text by text, head by head and token by token."""
    result = torch.empty_like(texts.queries, dtype=torch.float64)
    scale = texts.scaling or WIDTH**-0.5
    for text, head, token in torch.cartesian_prod(*map(torch.arange, result.shape[:3])).tolist():
        seen = slice(None) if texts.mask is None else texts.mask[text, 0, token]
        own_keys, own_values = texts.keys[text, head, seen].double(), texts.values[text, head, seen].double()
        one = text if len(context.keys) > 1 else 0
        keys = torch.cat([context.keys[one, head].double(), own_keys])
        values = torch.cat([context.values[one, head].double(), own_values])
        query = scale * texts.queries[text, head, token].double()
        own = torch.softmax(own_keys @ query, dim=0) @ own_values
        both = torch.softmax(keys @ query, dim=0) @ values
        result[text, head, token] = own + strength[head].double() * (both - own)
    return result


@pytest.mark.parametrize("attend", [attend_in_cascade, attend_to_concatenation])
@pytest.mark.parametrize(
    "texts",
    [
        heads_of(),
        heads_of(texts=1),
        heads_of(tokens=1),
        heads_of(spread=60.0),  # softmax sums that overflow unless their logarithms are merged
        replace(heads_of(), mask=None),
        replace(heads_of(), scaling=0.1),
    ],
    ids=["padded", "one text", "one token", "large logits", "no mask", "scaled"],
)
@pytest.mark.parametrize("size", [1, 7, 600])
def test_both_ways_equal_one_softmax_written_out(attend, texts, size):
    context = context_of(size)
    expected = written_out(context, texts, STRENGTH).float()
    assert_close(attend(context, texts, STRENGTH), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_cascade_merges_in_every_number_format(dtype):
    full, context = heads_of(), context_of()
    parts = {name: getattr(full, name).to(dtype) for name in ("queries", "keys", "values")}
    shared = LayerContext(context.keys.to(dtype), context.values.to(dtype))
    found = attend_in_cascade(shared, replace(full, **parts), STRENGTH.to(dtype))
    assert found.dtype == dtype
    assert_close(found.double(), written_out(context, full, STRENGTH), atol=6 * torch.finfo(dtype).eps + 1e-6, rtol=0)


def test_a_closed_gate_leaves_exactly_the_text():
    texts = heads_of()
    with torch.inference_mode():
        assert torch.equal(attend_under(context_of(), texts, torch.zeros(HEADS)), texts.attend())


class SizesOfResults(TorchDispatchMode):
    """Records how many numbers every operation returned."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        views = "view" in str(function) or "expand" in str(function)
        if isinstance(result, torch.Tensor) and not views:
            self.sizes.append(result.numel())
        return result


def test_in_inference_mode_the_context_is_not_copied_for_every_text():
    texts, context = heads_of(texts=20), context_of(size=50)
    with torch.inference_mode(), SizesOfResults() as recorded:
        attend_under(context, texts, STRENGTH)
    assert recorded.sizes
    assert max(recorded.sizes) < 20 * context.keys.numel()
    with SizesOfResults() as recorded:
        attend_to_concatenation(context, texts, STRENGTH)
    assert max(recorded.sizes) >= 20 * context.keys.numel()


def test_gradients_reach_the_context_the_gate_and_the_text():
    parts = [heads_of().queries, context_of().keys, context_of().values, STRENGTH]
    queries, keys, values, strength = (part.detach().clone().requires_grad_() for part in parts)
    attend_under(LayerContext(keys, values), replace(heads_of(), queries=queries), strength).sum().backward()
    assert all(part.grad is not None and part.grad.any() for part in (queries, keys, values, strength))


def test_passes_with_and_without_gradients_round_alike():
    full = heads_of()
    texts = replace(full, **{name: getattr(full, name).bfloat16() for name in ("queries", "keys", "values")})
    context = LayerContext(context_of(600).keys.bfloat16(), context_of(600).values.bfloat16())
    with torch.no_grad():
        first = attend_under(context, texts, STRENGTH.bfloat16())
    with torch.enable_grad():
        assert torch.equal(first, attend_under(context, texts, STRENGTH.bfloat16()))
    assert not torch.equal(first, attend_in_cascade(context, texts, STRENGTH.bfloat16()))


@torch.inference_mode()
def test_one_context_for_every_text():
    texts, context = heads_of(), context_of(contexts=TEXTS)
    expected = written_out(context, texts, STRENGTH).float()
    assert_close(attend_under(context, texts, STRENGTH), expected, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_dropout_applies_to_context_and_text_alike():
    texts = replace(heads_of(), dropout=0.5)
    torch.manual_seed(0)
    found = attend_under(context_of(), texts, STRENGTH)
    torch.manual_seed(0)
    assert torch.equal(found, attend_to_concatenation(context_of(), texts, STRENGTH))
    assert not torch.equal(found, attend_under(context_of(), replace(texts, dropout=0.0), STRENGTH))


def not_there(*_, **__):
    raise AttributeError("'_OpNamespace' 'aten' object has no attribute")


def other_signature(query, key, value, dropout):
    raise AssertionError("never called with the arguments that are given")


def other_result(query, key, value, attn_mask, scale):
    return scaled_dot_product_attention(query, key, value, attn_mask, scale=scale)


def sums_to_another_base(query, key, value, attn_mask, scale):
    attended, log_sum = KERNEL(query, key, value, attn_mask=attn_mask, scale=scale)
    return attended, log_sum / math.log(2)


def sums_laid_out_otherwise(query, key, value, attn_mask, scale):
    attended, log_sum = KERNEL(query, key, value, attn_mask=attn_mask, scale=scale)
    return attended, log_sum.unsqueeze(-1)


@pytest.fixture
def unprobed():
    """Without what an earlier test found out about the kernel, and leaving nothing to a later one."""
    context_attention._kernel_is_as_expected.cache_clear()
    yield
    context_attention._kernel_is_as_expected.cache_clear()


@torch.inference_mode()
@pytest.mark.parametrize(
    "kernel", [not_there, other_signature, other_result, sums_to_another_base, sums_laid_out_otherwise]
)
def test_a_torch_without_this_kernel_computes_by_the_public_function(kernel, unprobed, monkeypatch):
    monkeypatch.setattr(torch.ops.aten, KERNEL.__name__, kernel)
    found = attend_under(context_of(), heads_of(), STRENGTH)
    assert torch.equal(found, attend_to_concatenation(context_of(), heads_of(), STRENGTH))


@torch.inference_mode()
def test_trying_the_kernel_draws_no_random_numbers(unprobed):
    before = torch.get_rng_state()
    assert context_attention._kernel_is_as_expected()
    assert torch.equal(torch.get_rng_state(), before)


class Attention(torch.nn.Module):
    """With tensors alone as its inputs, as an export needs it."""

    def forward(self, queries, keys, values, context_keys, context_values):
        texts = TextHeads(queries, keys, values, None, None, 0.0)
        return attend_under(LayerContext(context_keys, context_values), texts, STRENGTH)


@torch.inference_mode()
@pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")  # torch's own, inside `torch.export`
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")  # exporters still trace so
@pytest.mark.parametrize("how", ["export", "trace"])
def test_an_exported_graph_computes_the_same(how):
    texts, context = heads_of(), context_of()
    inputs = (texts.queries, texts.keys, texts.values, context.keys, context.values)
    if how == "export":
        graph = torch.export.export(Attention(), inputs).run_decompositions().module()
    else:
        graph = torch.jit.trace(Attention(), inputs)
    assert_close(graph(*inputs), Attention()(*inputs), atol=1e-5, rtol=0)
