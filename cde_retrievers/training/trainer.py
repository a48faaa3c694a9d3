"""The trainer: transformers' `Trainer` over contextual batches, changed through its public methods only."""

import copy
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import Trainer, TrainerCallback
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import TrainOutput

from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.errors import CDEError, TrainingError, WriteError
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.evaluator import ndcg_at_10
from cde_retrievers.evaluation.searchers import Contextual
from cde_retrievers.training.callbacks import LogLastStep, LogWriter, ProgressLine
from cde_retrievers.training.checkpoint_writer import CheckpointKeeper, explain_failed_checkpoint, write_weights
from cde_retrievers.training.checkpoints import RunIdentity, starting_point
from cde_retrievers.training.config import TrainingConfig
from cde_retrievers.training.contrastive_model import ContrastiveModel
from cde_retrievers.training.distributed import of_the_first
from cde_retrievers.training.optimizer import GATE_LEARNING_RATE, gates, set_apart
from cde_retrievers.training.preparation import StepLoader
from cde_retrievers.training.step_metrics import StepMetrics

logger = logging.getLogger(__name__)


Step = dict[str, Tensor]


class ContextualTrainer(Trainer):
    """The Trainer of a `ContrastiveModel`; `train` makes one.

    Args:
        module: the model to train, in place.
        config: of the run.
        loader: of the batches to train on.
        tokenizer: of the model, for evaluation.
        sets: searched for evaluation.
        identity: of the run; a checkpoint of another run is not resumed.
        callbacks: of transformers, or your own.
    """

    def __init__(
        self,
        module: ContrastiveModel,
        config: TrainingConfig,
        loader: StepLoader,
        tokenizer: TextTokenizer,
        sets: Sequence[RetrievalDataset] = (),
        identity: RunIdentity | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self._module = module
        self._config = config
        self._identity = identity or {}
        self._keeper = CheckpointKeeper(self._identity, config.save_total_limit)
        self._metrics = StepMetrics(config.device, config.world_size)
        self._loader = loader
        self._tokenizer = tokenizer
        self._sets = sets
        own = [self._keeper, LogLastStep(), LogWriter(), ProgressLine(config.show_progress)]
        arguments = copy.copy(config)
        arguments.save_total_limit = None  # the keeper deletes old checkpoints, after marking the new one
        super().__init__(module, arguments, eval_dataset=list(sets) or None, callbacks=[*own, *callbacks])
        for prints_on_its_own in (DEFAULT_PROGRESS_CALLBACK, PrinterCallback):
            self.remove_callback(prints_on_its_own)

    def train(
        self, resume_from_checkpoint: str | Path | bool | None = None, *arguments: Any, **options: Any
    ) -> TrainOutput:
        """Train, from the beginning or from a complete checkpoint.

        Args:
            resume_from_checkpoint: a checkpoint's directory, or True for the newest complete one in the output
                directory.
            arguments: further ones of transformers' Trainer.
            options: likewise.

        Raises:
            TrainingError: the checkpoint does not exist, or another run wrote it; a loss or a gradient is not finite;
                a checkpoint cannot be written.
        """
        checkpoint = starting_point(self._config.output_folder, resume_from_checkpoint, self._identity)
        try:
            return super().train(None if checkpoint is None else str(checkpoint), *arguments, **options)
        except (OSError, RuntimeError, SafetensorError) as error:
            if isinstance(error, WriteError) or not isinstance(error, CDEError):
                explain_failed_checkpoint(error, self._keeper.writing, self._config.output_folder)
            raise

    def get_train_dataloader(self) -> StepLoader:
        """The batches of this process, epoch after epoch."""
        return self._loader

    def get_batch_samples(
        self, epoch_iterator: Iterator[Step], num_batches: int, device: torch.device
    ) -> tuple[list[Step], Tensor | int | None]:
        """The batches of the next step; none after the last step, which a resumed run may have behind it."""
        if self.state.global_step >= self.state.max_steps:
            return [], None
        batches: tuple[list[Step], Tensor | int | None] = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches

    def num_examples(self, dataloader: Any) -> int:
        """The pairs of an epoch, over all processes."""
        return self._loader.batches.batches_per_epoch * self._loader.batches.batch_size

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """The parameters with weight decay: all that the Trainer names but the gate, which decay would close."""
        weights = {id(weight) for weight in gates(self._module.model)}
        apart = {name for name, weight in model.named_parameters() if id(weight) in weights}
        return [name for name in super().get_decay_parameter_names(model) if name not in apart]

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """The Trainer's optimizer, with a learning rate of its own for the gate."""
        made = self.optimizer is None
        optimizer: Optimizer = super().create_optimizer(model)
        if made:
            rate = self._config.gate_learning_rate
            set_apart(optimizer, gates(self._module.model), GATE_LEARNING_RATE if rate is None else rate)
        return optimizer

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """The loss of one step, a mean over pairs; accuracy and masked share are kept for the log."""
        outputs: dict[str, Tensor] = model(**inputs)
        self._metrics.add(outputs, len(inputs["query_input_ids"]))
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward pass of one step.

        Raises:
            TrainingError: the loss or a gradient is not finite.
        """
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        # In fp16 gradients are scaled up, overflow now and then, and such a step is skipped.
        if not torch.isfinite(loss):
            reason = f"the loss is {float(loss)}"
        elif not self.args.fp16 and not _has_finite_gradients(model):
            reason = "a gradient is not finite"
        else:
            return loss
        raise TrainingError(
            f"{reason} at step {self.state.global_step + 1}; training stops before the weights are damaged. Start "
            f"again with a lower learning_rate, or resume a checkpoint with a higher temperature, or with bf16 instead "
            f"of fp16"
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the figures; next to a loss, the averages since the last log."""
        if "loss" in logs:
            logs.update(self._metrics.drain())
            if logs["masked_share"] == 1:
                logger.warning(
                    "every in-batch negative was excluded as a false negative, so nothing is learned; give pairs with "
                    "different documents, or raise false_negative_threshold"
                )
        super().log(logs, start_time)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """nDCG@10 of the current weights, on the `RetrievalDataset`s given, or else on those of the run."""
        began = time.perf_counter()
        sets = self._sets if eval_dataset is None else eval_dataset
        # Every process evaluates rather than wait for the first, whose figures then hold for all of them.
        figures = of_the_first(ndcg_by_set(self._encoder(), sets))
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._metrics.leave_out(time.perf_counter() - began)
        return metrics

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the current weights, adapters unmerged, into `output_dir`, or else into the run's own directory."""
        folder = Path(output_dir or self._config.output_folder)
        self._keeper.writing = folder if _internal_call else None
        if self.args.should_save:
            settings = self.args.to_dict()  # type: ignore[no-untyped-call]
            write_weights(folder, self._module, settings)

    def _encoder(self) -> ContextualEncoder:
        model, device = self._module.model, self.args.device
        return ContextualEncoder(model, self._tokenizer, device=device, dtype="float32", name="in training")


def _has_finite_gradients(module: nn.Module) -> bool:
    norm = torch.nn.utils.get_total_norm([each.grad for each in module.parameters() if each.grad is not None])
    return bool(torch.isfinite(norm))


def ndcg_by_set(encoder: ContextualEncoder, sets: Sequence[RetrievalDataset]) -> dict[str, float]:
    """`ndcg@10`, the mean over the sets, and with several sets `NAME_ndcg@10` of each; under their own contexts."""
    scores = {each.name: ndcg_at_10(Contextual(encoder), each, show_progress=False) for each in sets}
    named = {f"{name}_ndcg@10": score for name, score in scores.items()} if len(scores) > 1 else {}
    return {"ndcg@10": sum(scores.values()) / len(scores), **named}
