"""The gradient cache as a piece of its own, over small functions."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from cde_retrievers.training.losses.gradient_cache import gradient_cached, tensors_of, with_tensors
from cde_retrievers.training.losses.two_stage import chunked_together


@dataclass(frozen=True)
class Shared:
    label: str
    shift: Any
    nested: tuple[Any, ...] = ()


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


@pytest.fixture
def chunks():
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(1)).split(3)


def grads(output, *inputs):
    weights = torch.arange(output.numel(), dtype=output.dtype).view_as(output)
    return torch.autograd.grad((output * weights).sum(), inputs, allow_unused=True)


def test_rows_and_gradients_are_those_of_the_plain_graph(layer, chunks):
    shift = torch.randn(3, requires_grad=True)
    run = lambda chunk, shared: layer(chunk) * shared.tanh()  # noqa: E731
    actual = gradient_cached(run, chunks, shift.exp(), layer.parameters())
    expected = torch.cat([run(chunk, shift.exp()) for chunk in chunks])
    assert_close(actual, expected)
    assert_close(grads(actual, shift, *layer.parameters()), grads(expected, shift, *layer.parameters()))


def test_gradients_flow_into_every_tensor_of_what_is_shared(layer, chunks):
    a, b, c = (torch.randn(3, requires_grad=True) for _ in range(3))

    def run(chunk, shared):
        assert shared.label == "kept"
        return layer(chunk) * shared.shift + shared.nested[0] * shared.nested[1][0]

    actual = gradient_cached(run, chunks, Shared("kept", a * 2, (b, (c * c,))), layer.parameters())
    expected = torch.cat([layer(chunk) * a * 2 + b * c * c for chunk in chunks])
    assert_close(grads(actual, a, b, c), grads(expected, a, b, c))


def test_what_is_not_trained_gets_no_gradient(layer, chunks):
    layer.bias.requires_grad_(False)
    constant = torch.ones(3)
    output = gradient_cached(lambda chunk, shared: layer(chunk) + shared, chunks, constant, layer.parameters())
    output.sum().backward()
    assert layer.bias.grad is None
    assert constant.grad is None
    assert layer.weight.grad is not None


def test_a_parameter_that_no_chunk_uses_gets_none(layer, chunks):
    unused = nn.Parameter(torch.ones(1))
    output = gradient_cached(lambda chunk, _: layer(chunk), chunks, None, [*layer.parameters(), unused])
    output.sum().backward()
    assert unused.grad is None


def test_a_parameter_that_one_chunk_uses_gets_that_chunks_gradient(layer, chunks):
    extra = nn.Parameter(torch.ones(1))

    def run(chunk, _):
        return layer(chunk) + (extra if len(chunk) == 1 else 0)

    actual = grads(gradient_cached(run, chunks, None, [*layer.parameters(), extra]), extra)
    assert_close(actual, grads(torch.cat([run(chunk, None) for chunk in chunks]), extra))


def test_each_parameter_is_accumulated_once(layer, chunks):
    calls = []
    layer.weight.register_post_accumulate_grad_hook(lambda _: calls.append(1))
    gradient_cached(lambda chunk, _: layer(chunk), chunks, None, layer.parameters()).sum().backward()
    assert len(calls) == 1


def test_no_graph_is_kept_between_the_two_runs(layer, chunks):
    recorded = []

    def run(chunk, _):
        output = layer(chunk)
        recorded.append(output.requires_grad)
        return output

    output = gradient_cached(run, chunks, None, layer.parameters())
    assert recorded == [False] * len(chunks)
    output.sum().backward()
    assert recorded == [False] * len(chunks) + [True] * len(chunks)


def test_both_runs_have_the_autocast_of_the_first_without_its_cache_of_weights(layer, chunks):
    seen = []

    def run(chunk, _):
        seen.append((torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()))
        return layer(chunk)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = gradient_cached(run, chunks, None, layer.parameters())
    assert output.dtype == torch.bfloat16
    output.sum().backward()
    assert seen == [(True, False)] * 2 * len(chunks)


def test_an_incoming_gradient_is_left_as_it_is():
    shift, gradient = torch.zeros(1, 4, requires_grad=True), torch.ones(3, 4)
    # One row at a time, the gradient of what is shared is the very rows that came in.
    output = gradient_cached(lambda chunk, shared: chunk + shared, torch.ones(3, 4).split(1), shift, [])
    output.backward(gradient, retain_graph=True)
    assert torch.equal(gradient, torch.ones(3, 4))
    output.backward(gradient)
    assert_close(shift.grad, torch.full((1, 4), 6.0))


def test_without_gradients_it_only_runs(layer, chunks):
    with torch.no_grad():
        output = gradient_cached(lambda chunk, _: layer(chunk), chunks, None, layer.parameters())
    assert not output.requires_grad


def test_it_is_not_differentiated_twice(layer, chunks):
    shift = torch.ones(3, requires_grad=True)
    output = gradient_cached(lambda chunk, shared: layer(chunk) * shared, chunks, shift, layer.parameters())
    (first,) = torch.autograd.grad(output.square().sum(), shift, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable"):
        first.sum().backward()


def test_a_tree_of_tensors_comes_apart_and_together():
    tensors = [torch.tensor(i) for i in range(3)]
    tree = Shared("x", tensors[0], (None, Shared("y", tensors[1]), (tensors[2], 5)))
    assert tensors_of(tree) == tensors
    again = with_tensors(tree, iter([t + 10 for t in tensors]))
    assert again == Shared("x", tensors[0] + 10, (None, Shared("y", tensors[1] + 10), (tensors[2] + 10, 5)))


def test_chunks_are_as_wide_as_their_longest_text_and_rows_find_their_way_back():
    lengths = [[2, 5, 3, 5, 1], [4, 4]]
    batches = []
    for group, sizes in enumerate(lengths):
        mask = (torch.arange(6) < torch.tensor(sizes)[:, None]).long()
        batches.append((mask * (10 * group + torch.arange(len(sizes))[:, None] + 1), mask))
    chunks, places = chunked_together(batches, 2)
    assert [tuple(ids.shape) for ids, _ in chunks] == [(2, 5), (2, 3), (1, 1), (2, 4)]
    assert all(torch.equal(mask, (ids > 0).long()) for ids, mask in chunks)
    rows = torch.cat([ids[:, 0] for ids, _ in chunks])
    assert [rows[place].tolist() for place in places] == [[1, 2, 3, 4, 5], [11, 12]]
