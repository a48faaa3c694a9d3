"""The validated settings of a contextual model: unknown keys and impossible values are errors."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from cde_retrievers.context.selection import LARGEST
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.validation.problems import readable

Pooling = Literal["mean", "cls"]
MIN_LENGTH = 8


def _valid_unicode(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("a prompt must be valid Unicode, without lone surrogates") from error
    return text


Prompt = Annotated[str, AfterValidator(_valid_unicode)]
WholeNumber = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, settings: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(settings)
        except ValidationError as error:
            name = cls.__name__
            raise ConfigurationError(f"{name} is not valid: {readable(error.errors(), name)}") from error


Variant = Literal["own", "train", "hub"]


class JointConditioning(_Frozen):
    """The paper's conditioning: context vectors, soft prompt and text form one bidirectional sequence.

    Attributes:
        soft_prompt_tokens: learned vectors between context and text.
        variant: "own" for models of this library; the released ones come as "train", the function their weights were
            trained and scored with, and as "hub", the one their published remote code computes.
        context_slots: positions that the released models reserve for context: N; further vectors are not read.
        instruction_end: token id that ends a prompt; tokens up to its first occurrence are read but not pooled.
        null_vector: whether there is a learned vector that stands for "no context".
    """

    kind: Literal["joint"] = "joint"
    soft_prompt_tokens: WholeNumber = Field(default=8, ge=1, le=LARGEST)
    variant: Variant = "own"
    context_slots: WholeNumber | None = Field(default=None, ge=2, le=LARGEST)
    instruction_end: WholeNumber | None = Field(default=None, ge=0)
    null_vector: bool = Field(default=False, strict=True)


class CachedConditioning(_Frozen):
    """Context attends to itself only; its keys and values are computed once and every text attends to them.

    Attributes:
        null_vector: whether there is a learned vector that stands for "no context".
        whitening_power: power of the closed form (`WhiteningConditioning`) that is applied to every embedding, by
            the statistics of the context vectors; 0 for none. A model made from a bi-encoder then starts as that
            bi-encoder whitened. Meant for a first stage that is not trained.
        whitening_shrinkage: shrinkage of that closed form.
    """

    kind: Literal["cached"] = "cached"
    null_vector: bool = Field(default=False, strict=True)
    whitening_power: Number = Field(default=0.0, ge=0, le=1)
    whitening_shrinkage: Number = Field(default=1.0, gt=0)


class WhiteningConditioning(_Frozen):
    """Closed form: normalise(S^(-power/2) (e - m)), m and S the mean and covariance of the context's vectors.

    `power` 0 switches the context off: the embedding is the plain bi-encoder's. `shrinkage` times the mean variance
    is added to every direction's before the power is taken. The defaults were chosen on training sets, by
    `benchmarks/whitening_power.py`.
    """

    kind: Literal["whitening"] = "whitening"
    power: Number = Field(default=0.3, ge=0, le=1)
    shrinkage: Number = Field(default=1.0, gt=0)


Conditioning = JointConditioning | CachedConditioning | WhiteningConditioning
_BY_KIND: dict[str, type[Conditioning]] = {
    "joint": JointConditioning,
    "cached": CachedConditioning,
    "whitening": WhiteningConditioning,
}


def as_conditioning(conditioning: str | Conditioning) -> Conditioning:
    """Return the conditioning of that name with its default settings, or the given one.

    Raises:
        ConfigurationError: no conditioning has that name.
    """
    if not isinstance(conditioning, str):
        return conditioning
    if conditioning not in _BY_KIND:
        raise ConfigurationError(f"conditioning {conditioning!r} is unknown; use one of {sorted(_BY_KIND)}")
    return _BY_KIND[conditioning]()


class ContextualConfig(_Frozen):
    """All settings of a contextual model; with weights and tokenizer they define it.

    Attributes:
        conditioning: how the second stage sees the context.
        backbone: the settings of both encoders by their transformers names, with `model_type`.
        pooling: how token states become one vector.
        max_length: tokens per text, special tokens and prompt included; the rest of a text is cut.
        context_size: default number of context documents in `fit_context`, N in the paper.
        query_prompt: put before every query.
        document_prompt: put before every document and every context document.
    """

    conditioning: Annotated[Conditioning, Field(discriminator="kind")]
    backbone: dict[str, Any]
    pooling: Pooling = "mean"
    max_length: WholeNumber = Field(default=512, ge=MIN_LENGTH)
    context_size: WholeNumber = Field(default=512, ge=2, le=LARGEST)
    query_prompt: Prompt = ""
    document_prompt: Prompt = ""

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        """Parse the result of `to_dict`.

        Raises:
            ConfigurationError: a key is unknown or missing, or a value is impossible.
        """
        return cls(**settings)

    def checked_context_size(self, size: int | None) -> int:
        """Return the number of documents for a context; the default if None.

        Raises:
            ConfigurationError: the model reads another number of context vectors.
        """
        slots = getattr(self.conditioning, "context_slots", None)
        if size is not None and slots not in (None, size):
            raise ConfigurationError(
                f"this model reads exactly {slots} context vectors, size={size} was requested; leave the size out "
                f"(a smaller corpus fills the context by repetition)"
            )
        return self.context_size if size is None else size

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return self.model_dump(mode="json")
