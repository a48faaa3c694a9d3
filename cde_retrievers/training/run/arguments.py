"""All settings of a training run: those of transformers' Trainer, and those of the method."""

from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self, get_type_hints

from pydantic import TypeAdapter, ValidationError
from transformers import TrainingArguments

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.optional import require
from cde_retrievers.training.run.argument_checks import SEVERAL, check_own_settings, check_trainer_settings


@dataclass
class TrainingConfig(TrainingArguments):
    """transformers' TrainingArguments with defaults for this work, and what is special to contextual training.

    Everything of TrainingArguments has its name and meaning, such as `num_train_epochs`, `gradient_accumulation_steps`,
    `activation_checkpointing`, `bf16`, `save_steps`, `eval_strategy`, `load_best_model_at_end` and `report_to`.
    `resume_from_checkpoint` may also be True, for the newest whole checkpoint in `output_dir`.
    A global batch has `per_device_train_batch_size` pairs on each process, and all of them share their negatives.

    Attributes:
        batching: "contextual" draws each batch from one cluster of similar pairs (paper, section 4.1), "random" from
            anywhere in a domain.
        cluster_size: pairs of a cluster; as many as a global batch if None.
        packing: order of the clusters: "random", or "tsp" for similar ones beside each other (specification 3.3).
        surrogate: the frozen model by which pairs are clustered and false negatives found: a bi-encoder by name or
            path; the first stage of the model as it is before training if None.
        false_negative_threshold: a document is left out of the loss where the surrogate scores it at least this high
            for the query; 1.0 stands for the score of the query's own positive (paper, section 4.1), None for never.
        hard_negatives: given negatives per query; None for 1 where every pair has one, else 0.
        context_documents: context documents of a step; the model's own `context_size` if None.
        context_from: "batch" for the documents of the batch, "domain" for those first and then others of its domains.
        train_first_stage: whether context vectors are trained too. If not they are computed once. None is True where
            both stages are one network (whitening), else False.
        gate_learning_rate: of the gate that lets context in (`cached` conditioning), which starts closed; 0.01 if None.
            It has the schedule of `learning_rate`.
        sequence_dropout: the probability with which the null vector takes a context vector's place.
        disable_dropout: train without the backbone's dropout, as the released models were trained. On a CPU a step of a
            `cached` model then takes half the time.
        chunk_size: texts that are in memory at a time (gradient caching); None for all of them.
        temperature: what similarities are divided by.
        learn_temperature: learn it, from `temperature` on, at a learning rate of 0.01; the log shows it.
        symmetric: half of the loss from documents to queries.
        matryoshka_dimensions: widths at which embeddings cut to them are trained to work too. Who uses the model cuts
            them: the first columns, normalised again.
        lora_rank: train adapters of this rank in place of the backbone's weights; None for full fine-tuning.
        lora_alpha: scale of the adapters; twice the rank if None.
        lora_dropout: on what adapters read.
        lora_target_modules: names of the layers that get adapters; every linear layer of the backbone if None.
        cache_folder: where vectors and clusters are kept; `cache` in `output_dir` if None.
        evaluation: BEIR folders, each searched under its own context during training: `eval_ndcg@10` is the mean, and
            with several folders there is one such figure for each, `eval_NAME_ndcg@10`. Each epoch, unless
            `eval_strategy` is given; with `load_best_model_at_end` there is then a checkpoint for each epoch too.
        evaluation_split: whose judgements of these folders are used.

    Raises:
        ConfigurationError: a value is impossible, or does not fit the others.
        MissingDependencyError: accelerate or matplotlib is not installed; names the extra.
    """

    output_dir: str | None = None
    per_device_train_batch_size: int = 64
    learning_rate: float = 2e-5
    warmup_steps: float = 0.1
    weight_decay: float = 0.0
    logging_steps: float = 10
    logging_first_step: bool = True
    logging_nan_inf_filter: bool = False
    report_to: str | list[str] | None = "none"
    remove_unused_columns: bool = False
    dataloader_drop_last: bool = True
    ddp_find_unused_parameters: bool | None = False  # every weight takes part in every step
    metric_for_best_model: str | None = SEVERAL
    resume_from_checkpoint: str | bool | None = None  # type: ignore[assignment]

    batching: Literal["contextual", "random"] = "contextual"
    cluster_size: int | None = None
    packing: Literal["random", "tsp"] = "random"
    surrogate: str | None = None
    false_negative_threshold: float | None = 1.0
    hard_negatives: int | None = None
    context_documents: int | None = None
    context_from: Literal["batch", "domain"] = "batch"
    train_first_stage: bool | None = None
    gate_learning_rate: float | None = None
    sequence_dropout: float = 0.0
    disable_dropout: bool = False
    chunk_size: int | None = 32
    temperature: float = 0.02
    learn_temperature: bool = False
    symmetric: bool = False
    matryoshka_dimensions: tuple[int, ...] = ()
    lora_rank: int | None = None
    lora_alpha: float | None = None
    lora_dropout: float = 0.0
    lora_target_modules: tuple[str, ...] | None = None
    cache_folder: str | None = None
    evaluation: tuple[str, ...] | str = ()
    evaluation_split: str = "test"

    def __post_init__(self) -> None:
        for package in ("accelerate", "matplotlib"):
            require(package, "training", extra="train")
        check_own_settings(self)
        self._hides_progress = self.disable_tqdm  # the Trainer's own default depends on how much it logs
        if self.evaluation and _plain(self.eval_strategy) == "no":
            self.eval_strategy = "epoch"
            if self.load_best_model_at_end and (_plain(self.save_strategy), self.save_steps) == _UNTOLD:
                self.save_strategy = "epoch"  # the best weights are those of a checkpoint
        try:
            super().__post_init__()  # type: ignore[no-untyped-call]
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"transformers refuses the training arguments: {error}") from error
        check_trainer_settings(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        """The configuration of plain values, such as those of a TOML file.

        Raises:
            ConfigurationError: a name is unknown, or a value is of another type than the field, or impossible.
        """
        known = [field.name for field in fields(cls) if field.init]
        for name in settings:
            if name not in known:
                near = get_close_matches(str(name), known) or sorted(set(known) - _INHERITED)
                raise ConfigurationError(f"training setting {name!r} is unknown; similar ones are {', '.join(near)}")
        kinds = get_type_hints(cls)
        return cls(**{name: _of_kind(name, value, kinds[name]) for name, value in settings.items()})

    @property
    def show_progress(self) -> bool | None:
        """Whether `disable_tqdm` asks for a progress line or against it; None for one where somebody watches."""
        return None if self._hides_progress is None else not self._hides_progress

    @property
    def output_folder(self) -> Path:
        """Where checkpoints, the log and the trained model go."""
        return Path(str(self.output_dir))

    @property
    def cache(self) -> Path:
        """Where what is computed once is kept."""
        return self.output_folder / "cache" if self.cache_folder is None else Path(self.cache_folder)

    @property
    def global_batch_size(self) -> int:
        """Pairs of a batch over all processes."""
        return int(self.per_device_train_batch_size) * int(self.world_size)


_INHERITED = {field.name for field in fields(TrainingArguments)}
_UNTOLD = ("steps", 500)  # when transformers saves checkpoints if nobody says anything


def _plain(strategy: Any) -> str:
    return str(getattr(strategy, "value", strategy))


def _of_kind(name: str, value: Any, kind: Any) -> Any:
    # TrainingArguments takes any value for its settings, and fails on some of them in the middle of a run.
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ConfigurationError(f"training setting {name} is {value!r}: {reason}; give another value") from error
