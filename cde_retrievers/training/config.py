"""The settings of a training run: those of transformers' Trainer, and those of the method."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from transformers import TrainingArguments

from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.training.unsupported_settings import check_trainer_settings
from cde_retrievers.util.imports import require

MEAN_NDCG = "ndcg@10"  # over all evaluation folders
# Strict: True and "3" are not numbers here.
_Above0 = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
_From0To1 = Annotated[float, Field(strict=True, ge=0, le=1)]
_AtLeast0 = Annotated[int, Field(strict=True, ge=0)]
_AtLeast1 = Annotated[int, Field(strict=True, ge=1)]
_AtLeast2 = Annotated[int, Field(strict=True, ge=2)]


def _as_folders(value: Any) -> Any:
    if isinstance(value, str | Path):
        return (str(value),)
    return tuple(map(str, value)) if isinstance(value, list | tuple) else value


@dataclass
class TrainingConfig(TrainingArguments):
    """transformers' TrainingArguments with other defaults, and the settings of contextual training.

    Fields of TrainingArguments keep their names and meanings, such as `num_train_epochs`, `bf16`, `save_steps`,
    `gradient_accumulation_steps`, `activation_checkpointing`, `eval_strategy`, `load_best_model_at_end` and
    `report_to`. `resume_from_checkpoint` may also be True, for the newest complete checkpoint in `output_dir`.
    A global batch has `per_device_train_batch_size` pairs per process; all of them share their negatives.

    Attributes:
        batching: "contextual" draws each batch from one cluster of similar pairs (paper, section 4.1), "random" from
            all pairs.
        cluster_size: pairs per cluster; the size of a global batch if None.
        surrogate: name or path of the frozen bi-encoder that clusters pairs and finds false negatives; the model's own
            first stage before training if None.
        false_negative_threshold: a document is excluded from the loss of a query for which the surrogate scores it at
            least this high; 1.0 means the score of the query's own positive (paper, equation 4), None excludes none.
        hard_negatives: hard negatives per query; if None, 1 where every pair has one, else 0.
        context_size: context documents per step; the model's own `context_size` if None.
        context_from: "batch" for the documents of the batch; "domain" adds others of its domains, which a context
            larger than a batch needs.
        train_first_stage: whether the first stage is trained too; if not, context vectors are computed once. None is
            True where both stages are one network (whitening), else False.
        gate_learning_rate: of the gate of `cached` conditioning, which starts closed; 0.01 if None. It follows the
            schedule of `learning_rate`.
        sequence_dropout: the probability with which the null vector replaces a context vector.
        disable_dropout: train without the backbone's dropout, as the released models were trained. On a CPU a step of a
            `cached` model then takes half the time.
        chunk_size: texts in memory at a time (gradient caching); None for all of them.
        temperature: divides similarities.
        matryoshka_dimensions: widths that embeddings can be cut to after training; normalise them again.
        lora_rank: rank of the adapters to train instead of the backbone's weights; None for full fine-tuning.
        lora_alpha: scale of the adapters; twice the rank if None.
        lora_dropout: dropout before the adapters.
        lora_target_modules: names of the layers that get adapters; every linear layer of the backbone if None.
        cache_folder: directory of vectors and clusters; `cache` in `output_dir` if None.
        evaluation: BEIR folders to search under their own contexts during training, by default after each epoch (then
            with a checkpoint if `load_best_model_at_end`). `eval_ndcg@10` is the mean over the folders; with several,
            `eval_NAME_ndcg@10` is the figure of each.
        evaluation_split: of their judgements.

    Raises:
        ConfigurationError: a value is impossible, or does not fit another.
        MissingDependencyError: accelerate is not installed; names the extra.
    """

    output_dir: str | None = None
    per_device_train_batch_size: _AtLeast2 = 64
    gradient_accumulation_steps: _AtLeast1 = 1
    num_train_epochs: _Above0 = 3.0
    learning_rate: _Above0 = 2e-5
    warmup_steps: float = 0.1
    weight_decay: float = 0.0
    logging_steps: float = 10
    logging_first_step: bool = True
    logging_nan_inf_filter: bool = False
    report_to: str | list[str] | None = "none"
    remove_unused_columns: bool = False
    dataloader_drop_last: bool = True
    ddp_find_unused_parameters: bool | None = False  # every weight takes part in every step
    metric_for_best_model: str | None = MEAN_NDCG
    resume_from_checkpoint: str | bool | None = None  # type: ignore[assignment]

    batching: Literal["contextual", "random"] = "contextual"
    cluster_size: _AtLeast2 | None = None
    surrogate: str | None = None
    false_negative_threshold: Annotated[float, Field(strict=True, gt=0, le=1)] | None = 1.0
    hard_negatives: _AtLeast0 | None = None
    context_size: _AtLeast2 | None = None
    context_from: Literal["batch", "domain"] = "batch"
    train_first_stage: bool | None = None
    gate_learning_rate: _Above0 | None = None
    sequence_dropout: _From0To1 = 0.0
    disable_dropout: bool = False
    chunk_size: _AtLeast1 | None = 32
    temperature: _Above0 = 0.02
    matryoshka_dimensions: tuple[_AtLeast1, ...] = ()
    lora_rank: _AtLeast1 | None = None
    lora_alpha: _Above0 | None = None
    lora_dropout: _From0To1 = 0.0
    lora_target_modules: tuple[str, ...] | None = None
    cache_folder: str | None = None
    evaluation: Annotated[tuple[str, ...] | str, BeforeValidator(_as_folders)] = ()
    evaluation_split: str = "test"

    def __post_init__(self) -> None:
        require("accelerate", "training", extra="train")
        for name, kind in _kinds(type(self)).items():  # type: ignore[arg-type]
            setattr(self, name, _valid(name, getattr(self, name), kind))
        _check_output(self)
        _check_lora(self)
        _check_batching(self)
        _check_evaluation(self)
        self._hides_progress = self.disable_tqdm  # the Trainer's own default depends on how much it logs
        if self.evaluation and _plain(self.eval_strategy) == "no":
            self.eval_strategy = "epoch"
            if self.load_best_model_at_end and (_plain(self.save_strategy), self.save_steps) == _UNTOLD:
                self.save_strategy = "epoch"  # the best weights are those of a checkpoint
        try:
            super().__post_init__()  # type: ignore[no-untyped-call]
        except Exception as error:  # settings of transformers fail in many ways
            raise ConfigurationError(f"transformers refuses the training arguments: {error}") from error
        check_trainer_settings(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        """The configuration of plain values, such as those of a TOML file.

        Raises:
            ConfigurationError: a name is unknown, or a value is of the wrong type or impossible.
        """
        known = [field.name for field in fields(cls) if field.init]
        if not isinstance(settings, Mapping):
            raise ConfigurationError(f"training settings must be a mapping of names to values, found {shown(settings)}")
        for name in settings:
            if name not in known:
                near = get_close_matches(shown(name), known) or sorted(set(known) - _INHERITED)
                raise ConfigurationError(
                    f"training setting {shown(name)} is unknown; similar ones are {', '.join(near)}"
                )
        return cls(**settings)

    @property
    def show_progress(self) -> bool | None:
        """The opposite of `disable_tqdm`; None, if that is not set, for a bar in a terminal or a notebook only."""
        return None if self._hides_progress is None else not self._hides_progress

    @property
    def output_folder(self) -> Path:
        """The directory of checkpoints, the log and the trained model."""
        return Path(str(self.output_dir))

    @property
    def cache(self) -> Path:
        """The directory of cached computations."""
        return self.output_folder / "cache" if self.cache_folder is None else Path(self.cache_folder)

    @property
    def global_batch_size(self) -> int:
        """Pairs of a batch on all processes together."""
        return int(self.per_device_train_batch_size) * int(self.world_size)


_INHERITED = {field.name for field in fields(TrainingArguments)}
_UNTOLD = ("steps", 500)  # transformers' defaults for saving
# TrainingArguments replaces plain values by objects of these packages.
_MAKERS = ("accelerate", "torch", "transformers")


@lru_cache
def _kinds(config: type[TrainingConfig]) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(config, include_extras=True)
    return {field.name: TypeAdapter(hints[field.name]) for field in fields(config) if field.init}


def _valid(name: str, value: Any, kind: TypeAdapter[Any]) -> Any:
    # TrainingArguments accepts any value, and fails on some in the middle of a run.
    if type(value).__module__.partition(".")[0] in _MAKERS:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"training setting {name} is {value}; it must be a finite number; change it")
    try:
        return kind.validate_python(value)
    except Exception as error:  # an enumeration can fail while it shows what it refuses
        rule = "it cannot be read"
        if isinstance(error, ValidationError):
            rule = error.errors()[0]["msg"].replace("Input should be", "it must be")
        raise ConfigurationError(
            f"training setting {name} is {shown(value)}; {rule}; change it, or leave it out"
        ) from error


def _plain(strategy: Any) -> str:
    return str(getattr(strategy, "value", strategy))


def _check_output(config: TrainingConfig) -> None:
    if not config.output_dir:
        raise ConfigurationError(
            "output_dir is required, since checkpoints and the trained model go there; give a directory"
        )
    if config.output_folder.exists() and not config.output_folder.is_dir():
        raise ConfigurationError(f"output_dir {config.output_dir} is a file; give the path of a directory")
    if config.max_steps == 0:
        raise ConfigurationError("max_steps is 0, which trains nothing; give a number above 0, or leave it out")


def _check_lora(config: TrainingConfig) -> None:
    for name in ("lora_alpha", "lora_target_modules", "lora_dropout"):
        if getattr(config, name) and config.lora_rank is None:
            raise ConfigurationError(f"{name} has no effect without lora_rank; set lora_rank, or leave {name} out")


def _check_batching(config: TrainingConfig) -> None:
    if config.batching == "contextual":
        return
    if config.cluster_size is not None:
        raise ConfigurationError(
            "cluster_size has no effect without batching='contextual'; set that, or leave cluster_size out"
        )
    if config.surrogate is not None and config.false_negative_threshold is None:
        raise ConfigurationError(
            "surrogate has no effect without batching='contextual' or a false_negative_threshold; set one of them, or "
            "leave surrogate out"
        )


def _check_evaluation(config: TrainingConfig) -> None:
    if config.evaluation_split != TrainingConfig.evaluation_split and not config.evaluation:
        raise ConfigurationError(
            "evaluation_split has no effect without evaluation; set evaluation, or leave evaluation_split out"
        )
    names = [Path(folder).name for folder in config.evaluation]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"evaluation folders must have different names, found {names}; rename one")
    for folder in config.evaluation:
        if not Path(folder).is_dir():
            raise ConfigurationError(f"the evaluation folder {folder} does not exist; give one in BEIR's layout")
    asked = _plain(config.eval_strategy) != "no" or _plain(config.save_strategy) == "best"
    if (asked or config.load_best_model_at_end or config.eval_on_start) and not config.evaluation:
        raise ConfigurationError(
            "evaluation during training needs data to search; name BEIR folders in evaluation=(...), or leave "
            "eval_strategy, eval_on_start and load_best_model_at_end out"
        )
    figures = [MEAN_NDCG, *(f"{name}_{MEAN_NDCG}" for name in names if len(names) > 1)]
    metric = config.metric_for_best_model
    if metric is not None and metric.removeprefix("eval_") not in figures:
        raise ConfigurationError(f"metric_for_best_model is {metric!r}; use one of {', '.join(figures)}")
