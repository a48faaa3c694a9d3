"""`train`: a model and pairs in, a trained encoder out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError, TrainingError, WriteError
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.model.checkpoints import is_own_layout
from cde_retrievers.model.config import Conditioning
from cde_retrievers.training.base_model import encoder_to_train
from cde_retrievers.training.checkpoints import RunIdentity, newest_complete, starting_point
from cde_retrievers.training.config import TrainingConfig
from cde_retrievers.training.data.pair_statistics import check_enough
from cde_retrievers.training.data.pairs import TrainingPairs
from cde_retrievers.training.data.read import read_pairs
from cde_retrievers.training.distributed import wait_for_all
from cde_retrievers.training.preparation import prepare
from cde_retrievers.training.trainable_model import TrainableModel
from cde_retrievers.training.trainer import ContextualTrainer
from cde_retrievers.util.imports import require
from cde_retrievers.validation.signatures import validated

MODEL_FOLDER = "model"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a run.

    Attributes:
        encoder: the trained model.
        metrics: of the run and of its last evaluation; with `load_best_model_at_end` of its best one.
        log_history: all entries of the log.
        path: the output directory.
    """

    encoder: ContextualEncoder
    metrics: dict[str, float]
    log_history: list[dict[str, Any]] = field(repr=False)
    path: Path

    @property
    def model_path(self) -> Path:
        """The directory of the trained encoder, for `ContextualEncoder.from_pretrained`."""
        return self.path / MODEL_FOLDER


@validated
def train(
    model: ContextualEncoder | str | Path,
    data: TrainingPairs | str | Path | Iterable[Any],
    config: TrainingConfig,
    *,
    conditioning: str | Conditioning | None = None,
    resume_from_checkpoint: str | Path | bool | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    **settings: Any,
) -> TrainingResult:
    """Train a contextual model on pairs of queries and documents (paper, section 4; docs/method.md).

    Under torchrun or accelerate it trains on several processes, which share their negatives. A given encoder is not
    changed: a copy of its model is trained, in float32 (`bf16` switches to mixed precision).

    Args:
        model: an encoder; or the name or path of a contextual model or a bi-encoder, see `encoder_to_train`.
        data: pairs, or a source of pairs for `read_pairs`.
        config: of the run.
        conditioning: of a contextual model made from a bi-encoder: "cached" (if None), "joint" or "whitening", or a
            `Conditioning` with its settings.
        resume_from_checkpoint: a checkpoint's directory, or True for the newest complete one in `output_dir`; if None,
            the value in `config`.
        callbacks: of transformers.
        settings: of a contextual model made from a bi-encoder, such as prompts or `max_length`.

    Raises:
        TrainingDataError: pairs are missing, unreadable or too few.
        EvaluationDataError: an evaluation folder has fewer than two different documents.
        ConfigurationError: a setting is impossible or does not fit the model.
        TrainingError: the checkpoint to resume from is missing or of another run; `output_dir` holds the model of an
            earlier run; a loss is not finite; the disk is full.
        MissingDependencyError: a package is not installed; names the extra.
    """
    if config.evaluation:
        require("ir_measures", "evaluation during training", extra="eval")
    pairs = data if isinstance(data, TrainingPairs) else read_pairs(data)
    check_enough(pairs, config.global_batch_size)
    encoder = as_encoder(model, conditioning, settings)
    sets = [RetrievalDataset.read(folder, config.evaluation_split) for folder in config.evaluation]
    trainable = TrainableModel.of(encoder, config)
    identity = run_identity(encoder, pairs, config)
    resume = config.resume_from_checkpoint if resume_from_checkpoint is None else resume_from_checkpoint
    checkpoint = starting_point(config.output_folder, resume, identity)  # before anything is embedded
    if checkpoint is None:
        _refuse_used(config.output_folder / MODEL_FOLDER)
    loader = prepare(pairs, encoder, trainable, config)
    trainer = ContextualTrainer(trainable.module, config, loader, encoder.tokenizer, sets, identity, callbacks)
    output = trainer.train(checkpoint)
    # Its name is where it is saved: contexts and indexes store the name, and must not find the model it was made from.
    name = str(config.output_folder / MODEL_FOLDER)
    trained = ContextualEncoder(
        trainable.finished(), encoder.tokenizer, device=encoder.device, dtype=encoder.dtype, name=name
    )
    _save(trained, config)
    history = trainer.state.log_history
    kept = trainer.state.best_global_step if config.load_best_model_at_end else None
    return TrainingResult(trained, {**output.metrics, **_evaluated(history, kept)}, history, config.output_folder)


def as_encoder(
    model: ContextualEncoder | str | Path, conditioning: str | Conditioning | None, settings: dict[str, Any]
) -> ContextualEncoder:
    """The encoder itself, or that of a name by `encoder_to_train`.

    Raises:
        CheckpointError: there is no such model.
        ConfigurationError: a conditioning or settings are given for a contextual model.
    """
    if not isinstance(model, ContextualEncoder):
        return encoder_to_train(model, conditioning, **settings)
    if conditioning is not None or settings:
        given = ", ".join(sorted({*settings, *(["conditioning"] if conditioning is not None else [])}))
        raise ConfigurationError(
            f"{given} describe a contextual model made from a bi-encoder; give its name or path, or leave them out"
        )
    return model


def run_identity(encoder: ContextualEncoder, pairs: TrainingPairs, config: TrainingConfig) -> RunIdentity:
    """The values that a run must share with the checkpoint it continues from."""
    names = (
        *("seed", "global_batch_size", "world_size", "gradient_accumulation_steps", "batching", "cluster_size"),
        *("surrogate", "hard_negatives", "context_size", "context_from", "train_first_stage"),
        *("false_negative_threshold", "lora_rank", "lora_alpha", "lora_target_modules", "disable_dropout"),
        # The checkpoint restores these: another value would be ignored, or not fit.
        *("learning_rate", "gate_learning_rate", "weight_decay", "optim", "optim_args"),
        *("adam_beta1", "adam_beta2", "adam_epsilon"),
    )
    settings = {name: getattr(config, name) for name in names}
    return {"model": encoder.fingerprint, "pairs": pairs.fingerprint, **settings}


def _refuse_used(folder: Path) -> None:
    if is_own_layout(folder):
        raise TrainingError(
            f"{folder} holds the model of an earlier run, which would be replaced; give another output_dir"
        )


def _evaluated(history: Sequence[dict[str, Any]], step: int | None) -> dict[str, float]:
    """The figures of the evaluation at a step, or of the last one if None; empty without an evaluation."""
    entries = (e for e in reversed(history) if "eval_ndcg@10" in e and step in (None, e["step"]))
    return {name: value for name, value in next(entries, {}).items() if name.startswith("eval_")}


def _save(encoder: ContextualEncoder, config: TrainingConfig) -> None:
    """Write the trained encoder on the first process, while the others wait."""
    try:
        if config.should_save:
            encoder.save(config.output_folder / MODEL_FOLDER)
    except WriteError as error:
        last = newest_complete(config.output_folder)
        kept = f"its last checkpoint is {last}; make room, then resume_from_checkpoint=True" if last else "make room"
        raise TrainingError(f"the trained model could not be written ({error}); {kept}") from error
    wait_for_all()
