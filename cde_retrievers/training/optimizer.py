"""A learning rate of its own for the gate of `cached` conditioning."""

from collections.abc import Iterable

from torch import nn
from torch.optim import Optimizer

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.cached_conditioning import CachedSecondStage
from cde_retrievers.model.contextual import ContextualModel

# A weight moves by about its learning rate in a step. At this rate the gate, which starts closed, opens within about
# one hundred steps; at the rate of a trained bi-encoder's weights it would take tens of thousands.
GATE_LEARNING_RATE = 1e-2


def gates(model: ContextualModel) -> list[nn.Parameter]:
    """The gates that let context in: one tensor under `cached` conditioning, else none."""
    return [model.second_stage.gate] if isinstance(model.second_stage, CachedSecondStage) else []


def check_gate_learning_rate(model: ContextualModel, rate: float | None) -> None:
    """Raise ConfigurationError if a rate is given for a model without a gate."""
    if rate is not None and not gates(model):
        raise ConfigurationError(
            f"gate_learning_rate={rate} was given, but a model of {model.config.conditioning.kind!r} conditioning has "
            f"no gate; leave it out"
        )


def set_apart(optimizer: Optimizer, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
    """Give parameters of an unused optimizer another learning rate, in parameter groups of their own.

    Args:
        optimizer: changed in place; other settings of the groups stay.
        parameters: to move; those that it does not optimise are ignored.
        learning_rate: the highest one; schedules scale it as they scale the others.
    """
    wanted = {id(parameter) for parameter in parameters}
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if id(parameter) in wanted]
        if moved:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in wanted]
            optimizer.add_param_group({**group, "params": moved, "lr": learning_rate})
