"""The files that sentence-transformers adds to a bi-encoder: pooling, maximal length, prompts."""

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cde_retrievers.errors import CheckpointError
from cde_retrievers.model.config import MIN_LENGTH, Pooling, Prompt
from cde_retrievers.storage.checked_json import read_json
from cde_retrievers.storage.checksums import FileName
from cde_retrievers.validation.problems import readable

_POOLING_FLAGS: dict[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_POOLING_NAMES: dict[str, Pooling] = {"mean": "mean", "cls": "cls"}
_READABLE_MODULES = ("Transformer", "Pooling", "Normalize")
_REMEDY = "fetch or save it again"
Kind = TypeVar("Kind")


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", strict=True)


class _Module(_File):
    type: str
    path: FileName | Literal[""] = ""

    @property
    def kind(self) -> str:
        return self.type.rsplit(".", 1)[-1]


class _Transformer(_File):
    max_seq_length: int | None = Field(default=None, ge=MIN_LENGTH)
    do_lower_case: bool | None = None


class _Prompts(_File):
    prompts: dict[str, Prompt | None] | None = None


class _Pooling(_File):
    pooling_mode: str | None = None
    include_prompt: bool | None = None


class SentenceSettings(BaseModel):
    """The settings in those files.

    Attributes:
        pooling: how token states become one vector; the mean by default.
        max_length: tokens per text, or None.
        query_prompt: put before queries.
        document_prompt: put before documents.
    """

    model_config = ConfigDict(frozen=True)

    pooling: Pooling
    max_length: int | None
    query_prompt: str
    document_prompt: str


def read_sentence_settings(folder: Path) -> SentenceSettings:
    """Read the settings in a bi-encoder's directory.

    Raises:
        CheckpointError: a file is damaged, or has a setting that a contextual model does not reproduce.
    """
    modules = _read(folder / "modules.json", list[_Module], [])
    unknown = sorted({module.kind for module in modules} - set(_READABLE_MODULES))
    if unknown:
        raise CheckpointError(f"{folder} has modules that a contextual model does not reproduce: {unknown}")
    transformer = _read(folder / "sentence_bert_config.json", _Transformer, {})
    if transformer.do_lower_case:
        raise CheckpointError(f"{folder} lower-cases texts outside its tokenizer, which is not reproduced")
    prompts = _read(folder / "config_sentence_transformers.json", _Prompts, {}).prompts or {}
    poolings = [folder / module.path / "config.json" for module in modules if module.kind == "Pooling"]
    return SentenceSettings(
        pooling=_pooling(poolings[-1]) if poolings else "mean",
        max_length=transformer.max_seq_length,
        query_prompt=prompts.get("query") or "",
        document_prompt=prompts.get("document") or prompts.get("passage") or "",
    )


def _pooling(path: Path) -> Pooling:
    settings = _read(path, _Pooling, {})
    if settings.include_prompt is False:
        raise CheckpointError(f"{path} leaves prompts out of the pooling, which is not reproduced")
    named = settings.pooling_mode
    flags = [name for name, on in (settings.model_extra or {}).items() if name.startswith("pooling_mode_") and on]
    if named in _POOLING_NAMES:
        return _POOLING_NAMES[named]
    if named is None and len(flags) == 1 and flags[0] in _POOLING_FLAGS:
        return _POOLING_FLAGS[flags[0]]
    raise CheckpointError(f"{path} uses pooling {named or flags}; supported are {list(_POOLING_NAMES)}")


def _read(path: Path, kind: type[Kind], default: Any) -> Kind:
    # A broken link is a lost file, not an absent one.
    value = read_json(path, CheckpointError, _REMEDY) if os.path.lexists(path) else default
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise CheckpointError(f"{path} has an unknown format: {readable(error.errors())}; {_REMEDY}") from error
