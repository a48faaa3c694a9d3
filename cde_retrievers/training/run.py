"""Training in one call: pairs and a model in, an encoder that was trained on them out."""

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
        encoder: the trained model, ready to use.
        metrics: of the whole run, with the last evaluation's, or with `load_best_model_at_end` the best one's.
        log_history: every entry of the log.
        path: the run's output directory.
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

    Started by torchrun or accelerate it trains on several processes, which share their negatives. An encoder that is
    given stays as it is: a copy of its model is trained, in float32 (set `bf16` for arithmetic in fewer bits).

    Args:
        model: an encoder; or the name or path of a contextual model or of a bi-encoder, as `encoder_to_train` takes it.
        data: pairs, or what `read_pairs` takes.
        config: of the run.
        conditioning: of the contextual model made of a bi-encoder: "cached" (if None), "joint" or "whitening", or their
            settings.
        resume_from_checkpoint: a checkpoint's directory, or True for the newest whole one in `output_dir`; the
            config's own if None.
        callbacks: transformers' callbacks.
        settings: of the contextual model made of a bi-encoder, such as prompts or `max_length`.

    Raises:
        TrainingDataError: pairs are missing, unreadable or too few.
        EvaluationDataError: an evaluation folder has fewer than two different documents.
        ConfigurationError: a setting is impossible or does not fit the model.
        TrainingError: a checkpoint to resume from is missing or of another run; `output_dir` holds what an earlier run
            trained; a loss is not finite; the disk is full.
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
    checkpoint = starting_point(config.output_folder, resume, identity)  # refuses before anything is embedded
    if checkpoint is None:
        _refuse_used(config.output_folder / MODEL_FOLDER)
    steps = prepare(pairs, encoder, trainable, config)
    trainer = ContextualTrainer(trainable.module, config, steps, encoder.tokenizer, sets, identity, callbacks)
    output = trainer.train(checkpoint)
    # Named by where it is saved: what is built with it finds it again by that name, and not the model it came from.
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
    """The encoder itself, or what `encoder_to_train` makes of a name.

    Raises:
        CheckpointError: there is no such model.
        ConfigurationError: a conditioning or settings are given for a model that is already contextual.
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
    """The settings a run must share with the checkpoint it continues from."""
    names = (
        *("seed", "global_batch_size", "world_size", "gradient_accumulation_steps", "batching", "cluster_size"),
        *("surrogate", "hard_negatives", "context_size", "context_from", "train_first_stage"),
        *("false_negative_threshold", "lora_rank", "lora_alpha", "lora_target_modules", "disable_dropout"),
        # What is in the state that a checkpoint restores: another value would change nothing, or fit no longer.
        *("learning_rate", "gate_learning_rate", "weight_decay", "optim", "optim_args"),
        *("adam_beta1", "adam_beta2", "adam_epsilon"),
    )
    settings = {name: getattr(config, name) for name in names}
    return {"model": encoder.fingerprint, "pairs": pairs.fingerprint, **settings}


def _refuse_used(folder: Path) -> None:
    if is_own_layout(folder):
        raise TrainingError(f"{folder} was trained by an earlier run and would be replaced; give another output_dir")


def _evaluated(history: Sequence[dict[str, Any]], step: int | None) -> dict[str, float]:
    """The figures of the evaluation at that step, of the last one if None; of none where nothing was evaluated."""
    entries = (e for e in reversed(history) if "eval_ndcg@10" in e and step in (None, e["step"]))
    return {name: value for name, value in next(entries, {}).items() if name.startswith("eval_")}


def _save(encoder: ContextualEncoder, config: TrainingConfig) -> None:
    """Write the trained encoder, on the first process; the others wait."""
    try:
        if config.should_save:
            encoder.save(config.output_folder / MODEL_FOLDER)
    except WriteError as error:
        last = newest_complete(config.output_folder)
        kept = f"its last checkpoint is {last}; make room, then resume_from_checkpoint=True" if last else "make room"
        raise TrainingError(f"the trained model could not be written ({error}); {kept}") from error
    wait_for_all()
