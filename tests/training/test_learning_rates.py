"""The gate of `cached` conditioning learns at a rate of its own."""

import pytest
import torch

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.training.run.learning_rates import check_gate_learning_rate, gates, set_apart


def test_what_is_set_apart_has_its_own_rate_and_all_else_stays():
    first, second, third = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizer = torch.optim.AdamW([{"params": [first, second], "weight_decay": 0.5}, {"params": [third]}], lr=1e-3)
    set_apart(optimizer, [second], 1e-1)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert rates == {id(first): (1e-3, 0.5), id(second): (1e-1, 0.5), id(third): (1e-3, 0.01)}


def test_only_cached_conditioning_has_a_gate(make_model, conditioning):
    model = make_model(conditioning)
    assert len(gates(model)) == (conditioning == "cached")
    check_gate_learning_rate(model, None)
    if conditioning != "cached":
        with pytest.raises(ConfigurationError, match=r"no gate; leave it out"):
            check_gate_learning_rate(model, 1e-2)
