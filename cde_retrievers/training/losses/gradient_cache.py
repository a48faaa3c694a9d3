"""Gradient caching: chunks run without a graph, and again with one in the backward pass.

Memory is that of one chunk's graph. The idea is Gao et al.'s (arXiv 2101.06983); the paper applies it to two stages
(docs/method.md). As an autograd function it works in any training loop: autograd joins the stages, the loss, gradient
scaling and several processes.

Axes: n rows in all chunks, W width.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cde_retrievers.training.losses.rng_state import ForwardState

Chunk = TypeVar("Chunk")
Shared = TypeVar("Shared")
Gradients = list[Tensor | None]


def gradient_cached(
    run: Callable[[Chunk, Shared], Tensor], chunks: Sequence[Chunk], shared: Shared, parameters: Iterable[nn.Parameter]
) -> Tensor:
    """`torch.cat([run(chunk, shared) for chunk in chunks])`, holding one chunk's graph at a time.

    Each chunk is run twice: now, without a graph, and in the backward pass, with the random states and the autocast
    of its first run. Both runs must do the same; forward hooks see both. Random numbers outside are not disturbed.

    Every parameter is an input of this one step, and gets its whole gradient in one piece at the end of it. So under
    `DistributedDataParallel` each is synchronised exactly once per backward pass, over all chunks, without `no_sync`.
    A parameter that no chunk uses gets None, as from the plain graph, so that its optimizer skips it;
    `DistributedDataParallel` is notified and does not wait for it.

    Besides one chunk's graph it holds one more copy of the parameters' gradients, and a chunk's own.

    Args:
        run: from a chunk, and what all chunks share, to rows (chunk's n, W). Not to be differentiated twice.
        chunks: inputs without gradients, such as token ids with their masks; at least one.
        shared: an input with gradients: a tensor, or dataclasses and tuples with tensors inside.
        parameters: every parameter that `run` uses and that is to be trained.

    Returns:
        (n, W), in the order of the chunks.
    """
    inputs = tensors_of(shared)
    weights = [parameter for parameter in parameters if parameter.requires_grad]
    work = _Work(run, tuple(chunks), shared, len(inputs))
    rows: Tensor = _GradientCached.apply(work, *inputs, *weights)  # type: ignore[no-untyped-call]
    return rows


@dataclass(frozen=True, slots=True)
class _Work(Generic[Chunk, Shared]):
    """The computation to run. Only the structure of `shared` is used; its tensors are passed in."""

    run: Callable[[Chunk, Shared], Tensor]
    chunks: tuple[Chunk, ...]
    shared: Shared
    shared_tensors: int

    def on(self, chunk: Chunk, inputs: Sequence[Tensor]) -> Tensor:
        return self.run(chunk, with_tensors(self.shared, iter(inputs[: self.shared_tensors])))

    def leaves(self, inputs: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor]:
        """Shared tensors cut off from their graph, which is not part of this step's; parameters as they are."""
        cut = (t.detach().requires_grad_(w) for t, w in zip(inputs[: self.shared_tensors], wanted, strict=False))
        return [*cut, *inputs[self.shared_tensors :]]


class _GradientCached(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, work: _Work[Any, Any], *inputs: Tensor) -> Tensor:
        device = inputs[0].device if inputs else torch.device("cpu")
        outputs, ctx.states = [], []
        for chunk in work.chunks:
            before = ForwardState.now(device)
            with before.same_autocast():
                outputs.append(work.on(chunk, inputs))
            ctx.states.append(before)
        ctx.work, ctx.rows = work, [len(output) for output in outputs]
        # Through here and not as an attribute: autograd then notices weights that change before the second run.
        ctx.save_for_backward(*inputs)
        return torch.cat(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, wanted = ctx.saved_tensors, ctx.needs_input_grad[1:]
        totals: Gradients = [None] * len(inputs)
        parts = torch.split(gradient, ctx.rows)
        # The last chunk first, as autograd walks a plain graph, so that sums in few bits round alike.
        for chunk, before, part in reversed(list(zip(ctx.work.chunks, ctx.states, parts, strict=True))):
            leaves = ctx.work.leaves(inputs, wanted)
            with before.restored(), torch.enable_grad():
                output = ctx.work.on(chunk, leaves)
            _add_gradients(totals, output, part, leaves)
        return (None, *totals)


def _add_gradients(totals: Gradients, output: Tensor, gradient: Tensor, leaves: Sequence[Tensor]) -> None:
    """Add the gradients of <output, gradient> to the totals; what the output does not depend on adds nothing."""
    places = [place for place, leaf in enumerate(leaves) if leaf.requires_grad]
    found = torch.autograd.grad(output, [leaves[p] for p in places], gradient, allow_unused=True)
    for place, part in zip(places, found, strict=True):
        # Not in place: what autograd hands out may share its memory with other gradients.
        totals[place] = _sum(totals[place], part)


def _sum(total: Tensor | None, part: Tensor | None) -> Tensor | None:
    if total is None or part is None:
        return part if total is None else total
    return total + part


Tree = TypeVar("Tree")


def tensors_of(tree: Any) -> list[Tensor]:
    """Every tensor in a nest of dataclasses and tuples, in a fixed order; anything else holds none."""
    if isinstance(tree, Tensor):
        return [tree]
    return [tensor for part in _parts(tree) for tensor in tensors_of(part)]


def with_tensors(tree: Tree, tensors: Iterator[Tensor]) -> Tree:
    """The same nest with other tensors, in the order of `tensors_of`."""
    changed: Tree = _mapped(tree, lambda _: next(tensors))
    return changed


def _mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, tuple):
        return tuple(_mapped(part, change) for part in tree)
    if is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{f.name: _mapped(getattr(tree, f.name), change) for f in fields(tree)})
    return tree


def _parts(tree: Any) -> list[Any]:
    if isinstance(tree, tuple):
        return list(tree)
    if is_dataclass(tree) and not isinstance(tree, type):
        return [getattr(tree, f.name) for f in fields(tree)]
    return []
