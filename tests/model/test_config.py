import pytest

from cde_retrievers import ContextualConfig
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.config import (
    CachedConditioning,
    JointConditioning,
    WhiteningConditioning,
    as_conditioning,
)

SETTINGS = {"conditioning": {"kind": "cached"}, "backbone": {"model_type": "bert"}}


def test_settings_survive_json(conditioning):
    config = ContextualConfig(conditioning=as_conditioning(conditioning), backbone={"model_type": "bert"})
    assert ContextualConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context_sise": 3}, r"context_sise: Extra inputs are not permitted \(found 3\)"),
        ({"context_size": 1}, r"context_size: .* greater than or equal to 2 \(found 1\)"),
        ({"max_length": "long"}, r"max_length: .*\(found 'long'\)"),
        ({"pooling": "max"}, r"pooling: .*'mean' or 'cls'"),
        ({"conditioning": {"kind": "magic"}}, r"conditioning: .*'joint', 'cached', 'whitening'"),
        ({"conditioning": {"kind": "cached", "power": 0.1}}, r"CachedConditioning is not valid: power: Extra inputs"),
        (
            {"conditioning": {"kind": "whitening", "power": -1}},
            r"WhiteningConditioning is not valid: power: .* greater than or equal to 0",
        ),
    ],
)
def test_impossible_settings_are_refused_by_name(change, message):
    with pytest.raises(ConfigurationError, match=message):
        ContextualConfig.from_dict({**SETTINGS, **change})


def test_missing_settings_are_named():
    with pytest.raises(ConfigurationError, match="backbone: Field required"):
        ContextualConfig(conditioning=CachedConditioning())


def test_a_config_cannot_be_changed():
    config = ContextualConfig.from_dict(SETTINGS)
    with pytest.raises(ValueError, match="frozen"):
        config.max_length = 3


def test_conditioning_by_name_or_settings():
    assert as_conditioning("joint") == JointConditioning(soft_prompt_tokens=8)
    assert as_conditioning(WhiteningConditioning(power=0.3)).power == 0.3
    with pytest.raises(ConfigurationError, match=r"'magic' is unknown; use one of \['cached', 'joint', 'whitening'\]"):
        as_conditioning("magic")
