"""The gate of `cached` conditioning learns at a rate of its own."""

import pytest
import torch
from runs import PAIRS, small_config
from transformers import TrainerCallback

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.training.optimizer import check_gate_learning_rate, gates, set_apart
from cde_retrievers.training.run import train


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


class Decays(TrainerCallback):
    """What each weight of a run's optimiser decays by, and learns at."""

    def on_train_begin(self, args, state, control, model, optimizer, **_):
        decay = {id(weight): group["weight_decay"] for group in optimizer.param_groups for weight in group["params"]}
        rates = {id(weight): group["initial_lr"] for group in optimizer.param_groups for weight in group["params"]}
        self.rates = {name: rates[id(weight)] for name, weight in model.named_parameters() if id(weight) in rates}
        self.by_name = {name: decay[id(weight)] for name, weight in model.named_parameters() if id(weight) in decay}


def test_the_gate_has_a_rate_of_its_own_and_no_decay(make_encoder, tmp_path):
    seen = Decays()
    config = small_config(tmp_path, num_train_epochs=1, weight_decay=0.1)
    train(make_encoder("cached"), PAIRS, config, callbacks=[seen])
    apart = {name: decay for name, decay in seen.by_name.items() if "gate" in name}
    assert list(apart.values()) == [0]
    assert {rate for name, rate in seen.rates.items() if name in apart} == {0.01}
    assert 0.1 in seen.by_name.values()
