"""A learning rate of its own for the gate of `cached` conditioning."""

from collections.abc import Iterable

from torch import nn
from torch.optim import Optimizer

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.cached_conditioning import CachedSecondStage
from cde_retrievers.model.contextual import ContextualModel

# A weight moves by about its learning rate in a step. The gate starts closed and opens within about one hundred, where
# a rate that suits the weights of a trained bi-encoder would take tens of thousands.
GATE_LEARNING_RATE = 1e-2


def gates(model: ContextualModel) -> list[nn.Parameter]:
    """The parameters that let context in bit by bit: one tensor under `cached`, none under the other conditionings."""
    return [model.second_stage.gate] if isinstance(model.second_stage, CachedSecondStage) else []


def check_gate_learning_rate(model: ContextualModel, rate: float | None) -> None:
    """Raise ConfigurationError where a rate is given to a model without a gate."""
    if rate is not None and not gates(model):
        raise ConfigurationError(
            f"gate_learning_rate={rate} was given, but a model of {model.config.conditioning.kind!r} conditioning has "
            f"no gate; leave it out"
        )


def set_apart(optimizer: Optimizer, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
    """Move parameters of an optimiser that has made no step into groups with another learning rate.

    Args:
        optimizer: changed in place; all else about the parameters' groups stays.
        parameters: those that it does not optimise are passed over.
        learning_rate: at its highest; schedules scale it like every other.
    """
    wanted = {id(parameter) for parameter in parameters}
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if id(parameter) in wanted]
        if moved:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in wanted]
            optimizer.add_param_group({**group, "params": moved, "lr": learning_rate})
