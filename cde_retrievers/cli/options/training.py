"""The options of `train`."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, BadParameter, Option

from cde_retrievers.cli.options.reading import ReadingOptions

if TYPE_CHECKING:
    from cde_retrievers.training.config import TrainingConfig

ConditioningName = Literal["cached", "joint", "whitening"]
Batching = Literal["contextual", "random"]
Device = Literal["auto", "cpu"]
Arithmetic = Literal["float32", "bfloat16"]

_model = partial(Option, rich_help_panel="Model")
_training = partial(Option, rich_help_panel="Training")


@dataclass(frozen=True)
class TrainingSource(ReadingOptions):
    """SOURCE: pairs as `read_pairs` takes them, or documents, which the other options say how to read."""

    source: Annotated[
        Path,
        Argument(
            metavar="SOURCE",
            show_default=False,
            help="Pairs: a JSONL file with the columns query and positive (and negatives, domain), a BEIR folder with "
            "judgements for training or a folder of these, or the JSON of a LlamaIndex EmbeddingQAFinetuneDataset. "
            "With --from-documents: documents, as `index` reads them.",
        ),
    ]


@dataclass(frozen=True)
class BaseModelOptions:
    """The model to train, and its device."""

    model: Annotated[
        str,
        _model(
            metavar="NAME", help="'minilm', or a folder or hub repository with a bi-encoder or with a contextual model."
        ),
    ] = "minilm"
    conditioning: Annotated[
        ConditioningName | None,
        _model(
            help="How a bi-encoder is to read its context ('cached' if left out). A model that is contextual already "
            "is trained as it is."
        ),
    ] = None
    max_length: Annotated[
        int | None,
        _model(metavar="TOKENS", min=4, help="What is read of a text, of a bi-encoder only (its own if left out)."),
    ] = None
    device: Annotated[Device, _model(help="'auto' for an accelerator if there is one, or 'cpu'.")] = "auto"

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of `encoder_to_train` besides the name."""
        length = {} if self.max_length is None else {"max_length": self.max_length}
        return {"conditioning": self.conditioning, "device": self.device, **length}


@dataclass(frozen=True)
class TrainingOptions:
    """The training settings: the most common ones, and a way to set all others."""

    epochs: Annotated[float | None, _training(metavar="NUMBER", help="Times through all pairs (3 if left out).")] = None
    batch_size: Annotated[
        int | None,
        _training(
            metavar="PAIRS",
            help="Whose documents are each other's negatives (64 if left out); memory hardly grows with it.",
        ),
    ] = None
    learning_rate: Annotated[
        float | None,
        _training(metavar="NUMBER", help="At its highest (2e-5 if left out)."),
    ] = None
    batching: Annotated[
        Batching | None,
        _training(help="Batches of pairs that are hard to tell apart ('contextual', if left out) or of any pairs."),
    ] = None
    lora_rank: Annotated[
        int | None, _training(metavar="NUMBER", help="Train adapters of this rank (all weights if left out).")
    ] = None
    dtype: Annotated[
        Arithmetic | None, _training(help="Of the arithmetic (float32 if left out); weights stay float32.")
    ] = None
    evaluate: Annotated[
        list[Path] | None,
        _training(
            metavar="FOLDER",
            help="BEIR folder to measure nDCG@10 on, before training and after each epoch; the best epoch is kept.",
        ),
    ] = None
    setting: Annotated[
        list[str] | None,
        _training(
            metavar="NAME=VALUE",
            help="Any field of TrainingConfig, those of transformers' TrainingArguments included; a value as in TOML, "
            "or None.",
        ),
    ] = None


# The option that sets a field.
_OPTIONS = {
    "num_train_epochs": "--epochs",
    "per_device_train_batch_size": "--batch-size",
    "learning_rate": "--learning-rate",
    "batching": "--batching",
    "lora_rank": "--lora-rank",
    "bf16": "--dtype",
    "evaluation": "--evaluate",
    "use_cpu": "--device",
    "output_dir": "--out",
    "disable_tqdm": "--no-progress",
}
_KEPT_CHECKPOINTS = 2
_EVALUATED = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True, "eval_on_start": True}


def training_config(
    out: Path, model: BaseModelOptions, options: TrainingOptions, show_progress: bool | None
) -> "TrainingConfig":
    """Return the configuration that the options ask for.

    Raises:
        BadParameter: a setting is not NAME=VALUE, or an option also sets it.
        ConfigurationError: a name is unknown, or a value is impossible.
    """
    chosen = {
        "num_train_epochs": options.epochs,
        "per_device_train_batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "batching": options.batching,
        "lora_rank": options.lora_rank,
        "bf16": options.dtype and options.dtype == "bfloat16",
        "evaluation": tuple(map(str, options.evaluate)) if options.evaluate else None,
        "use_cpu": model.device == "cpu" or None,
        "output_dir": str(out),
        "disable_tqdm": None if show_progress is None else not show_progress,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    settings = read_settings(options.setting or [])
    for name in sorted(given.keys() & settings.keys()):
        raise BadParameter(f"{name} is also set by {_OPTIONS[name]}; leave one of them out", param_hint="--setting")
    defaults = {"save_total_limit": _KEPT_CHECKPOINTS}
    evaluated = _EVALUATED if "evaluation" in {*given, *settings} else {}
    from cde_retrievers.training.config import TrainingConfig

    return TrainingConfig.from_dict({**defaults, **evaluated, **given, **settings})


def read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Parse texts NAME=VALUE; a value is TOML, None, or else text.

    Raises:
        BadParameter: a text is not NAME=VALUE, or a name comes twice.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise BadParameter(f"{text!r} is not NAME=VALUE; write it as in seed=7", param_hint="--setting")
        name = name.strip()
        if name in settings:
            raise BadParameter(f"{name} is given twice; leave one of them out", param_hint="--setting")
        settings[name] = _toml_or_text(value)
    return settings


def _toml_or_text(text: str) -> Any:
    if text.strip() == "None":  # which TOML has no word for
        return None
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # a number may be too long, and brackets too many
        return text
    return table["value"] if len(table) == 1 else text
