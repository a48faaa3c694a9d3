"""Construction of the two stages of a model, one pair of classes for each conditioning."""

from collections.abc import Callable
from typing import Any

from cde_retrievers.model.backbones import build_backbone
from cde_retrievers.model.cached_conditioning import CachedSecondStage, register_attention
from cde_retrievers.model.config import (
    CachedConditioning,
    ContextualConfig,
    JointConditioning,
    WhiteningConditioning,
)
from cde_retrievers.model.first_stage import FirstStage
from cde_retrievers.model.joint_conditioning import JointSecondStage, first_stage_mlp
from cde_retrievers.model.second_stage import SecondStage
from cde_retrievers.model.whitening import WhiteningSecondStage

Stages = tuple[FirstStage, SecondStage[Any]]


def build_stages(config: ContextualConfig) -> Stages:
    """Return a first and a second stage with random weights."""
    return _BUILDERS[type(config.conditioning)](config)


def _joint(config: ContextualConfig) -> Stages:
    assert isinstance(config.conditioning, JointConditioning)
    backbone = build_backbone(config.backbone)
    first = FirstStage(backbone, config.pooling, first_stage_mlp(backbone.config.hidden_size))
    second = JointSecondStage(build_backbone(config.backbone), config.pooling, config.conditioning)
    return first, second


def _cached(config: ContextualConfig) -> Stages:
    assert isinstance(config.conditioning, CachedConditioning)
    first = FirstStage(build_backbone(config.backbone), config.pooling)
    backbone = build_backbone(config.backbone, attention=register_attention())
    return first, CachedSecondStage(backbone, config.pooling, config.conditioning)


def _whitening(config: ContextualConfig) -> Stages:
    assert isinstance(config.conditioning, WhiteningConditioning)
    backbone = build_backbone(config.backbone)
    first = FirstStage(backbone, config.pooling)
    return first, WhiteningSecondStage(first, backbone.config.hidden_size, config.conditioning)


_BUILDERS: dict[type, Callable[[ContextualConfig], Stages]] = {
    JointConditioning: _joint,
    CachedConditioning: _cached,
    WhiteningConditioning: _whitening,
}
