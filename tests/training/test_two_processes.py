"""Two processes that share their negatives have the gradients of one that has everything."""

import pytest
import torch
from safetensors.torch import load_file
from steps import furthest, gradients_of
from two_processes import RANKS, WithUnusedParameter, objective, rows_of, run_in_two, whole_step

from cde_retrievers.model.config import WhiteningConditioning

CONDITIONINGS = {"joint": "joint", "cached": "cached", "whitening": WhiteningConditioning(power=0.5)}


@pytest.mark.slow
def test_gradients_are_those_of_one_process(make_model, tmp_path):
    folders = {name: tmp_path / f"model-{name}" for name in CONDITIONINGS}
    for name, conditioning in CONDITIONINGS.items():
        make_model(conditioning).save(folders[name])
    run_in_two(folders, tmp_path)
    for rank in range(RANKS):
        for name, folder in folders.items():
            alone = objective(folder, chunk_size=None)
            expected = gradients_of(alone, whole_step(reads_context=True))
            expected = {name: gradient for name, gradient in expected.items() if gradient is not None}
            actual = load_file(tmp_path / f"{name}-{rank}.safetensors")
            assert set(actual) == set(expected)
            assert furthest(actual, expected) < 1e-5
        alone = WithUnusedParameter()
        expected = gradients_of(alone, {"rows": torch.cat([rows_of(rank) for rank in range(RANKS)])})
        actual = load_file(tmp_path / f"unused-{rank}.safetensors")
        assert expected["unused.weight"] is None
        assert furthest({"used": actual["used.weight"]}, {"used": expected["used.weight"]}) < 1e-5
        assert not actual.get("unused.weight", torch.zeros(1)).any()
