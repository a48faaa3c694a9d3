"""transformers' Trainer for contextual models, through its public methods only."""

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

from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.errors import CDEError, WriteError
from cde_retrievers.retrieval_set import RetrievalSet
from cde_retrievers.text import TextTokenizer
from cde_retrievers.training.objective.contrastive_model import ContrastiveModel
from cde_retrievers.training.processes import of_the_first
from cde_retrievers.training.run.arguments import TrainingConfig
from cde_retrievers.training.run.checkpoints import Facts, starting_point
from cde_retrievers.training.run.evaluating import evaluate
from cde_retrievers.training.run.failed_step import has_finite_gradients, stop_training
from cde_retrievers.training.run.learning_rates import GATE_LEARNING_RATE, TEMPERATURE_LEARNING_RATE, gates, set_apart
from cde_retrievers.training.run.preparation import Prepared
from cde_retrievers.training.run.saving import CheckpointKeeper, explain_failed_checkpoint, write_weights
from cde_retrievers.training.run.weight_sharing import forgive_shared_weights
from cde_retrievers.training.steps.collating import PAIR_ROWS
from cde_retrievers.training.steps.loading import Step, StepLoader
from cde_retrievers.training.watching.last_step import LogLastStep
from cde_retrievers.training.watching.metering import Meter
from cde_retrievers.training.watching.progress_line import ProgressLine
from cde_retrievers.training.watching.training_log import LogWriter

logger = logging.getLogger(__name__)


class ContextualTrainer(Trainer):
    """Trains a `ContrastiveModel` on the steps of a schedule. `train` puts one together.

    Args:
        module: what is trained, in place.
        config: of the run.
        prepared: pairs and steps.
        tokenizer: of the model, for evaluation.
        sets: what to search in for evaluation.
        facts: what identifies the run; a checkpoint of another one is not resumed.
        callbacks: further ones, transformers' own or yours.
    """

    def __init__(
        self,
        module: ContrastiveModel,
        config: TrainingConfig,
        prepared: Prepared,
        tokenizer: TextTokenizer,
        sets: Sequence[RetrievalSet] = (),
        facts: Facts | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self._module = module
        self._config = config
        self._facts = facts or {}
        self._keeper = CheckpointKeeper(self._facts, config.save_total_limit)
        self._meter = Meter(config.device, config.world_size)
        self._prepared = prepared
        self._tokenizer = tokenizer
        self._sets = sets
        own = [self._keeper, LogLastStep(), LogWriter(), ProgressLine(config.show_progress)]
        arguments = copy.copy(config)
        arguments.save_total_limit = None  # the keeper deletes old checkpoints, after marking the new one
        super().__init__(module, arguments, eval_dataset=list(sets) or None, callbacks=[*own, *callbacks])
        for prints_on_its_own in (DEFAULT_PROGRESS_CALLBACK, PrinterCallback):
            self.remove_callback(prints_on_its_own)
        forgive_shared_weights(module)

    def train(
        self, resume_from_checkpoint: str | Path | bool | None = None, *arguments: Any, **keywords: Any
    ) -> TrainOutput:
        """Train, from the beginning or from a whole checkpoint.

        Args:
            resume_from_checkpoint: a checkpoint's directory, or True for the newest whole one in the output directory.
            arguments: as transformers' Trainer takes them.
            keywords: likewise.

        Raises:
            TrainingError: there is no such checkpoint, or it is of another run; a step has no finite loss or gradient;
                a checkpoint cannot be written.
        """
        checkpoint = starting_point(self._config.output_folder, resume_from_checkpoint, self._facts)
        try:
            return super().train(None if checkpoint is None else str(checkpoint), *arguments, **keywords)
        except (OSError, RuntimeError, SafetensorError) as error:
            if isinstance(error, WriteError) or not isinstance(error, CDEError):
                explain_failed_checkpoint(error, self._keeper.writing, self._config.output_folder)
            raise

    def get_train_dataloader(self) -> StepLoader:
        """The steps of this process, epoch after epoch."""
        return StepLoader(self._prepared.schedule, self._prepared.steps, self.args)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Step], num_batches: int, device: torch.device
    ) -> tuple[list[Step], Tensor | int | None]:
        """As the Trainer's: the batches of the next step; none where the last step was made before, in a resumed run.

        Args:
            epoch_iterator: what is left of the epoch.
            num_batches: of a step.
            device: where it computes.
        """
        if self.state.global_step >= self.state.max_steps:
            return [], None
        batches: tuple[list[Step], Tensor | int | None] = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches

    def num_examples(self, dataloader: Any) -> int:
        """Pairs of an epoch, over all processes."""
        return self._prepared.schedule.batches_per_epoch * self._prepared.schedule.batch_size

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """As the Trainer's, without what decay would pull to a value of its own: the temperature and the gate.

        Args:
            model: what is trained.
        """
        weights = {id(weight) for weight in [*self._module.loss.parameters(), *gates(self._module.model)]}
        apart = {name for name, weight in model.named_parameters() if id(weight) in weights}
        return [name for name in super().get_decay_parameter_names(model) if name not in apart]

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """As the Trainer's, with learning rates of their own for the gate and the temperature.

        Args:
            model: what is trained if None.
        """
        made = self.optimizer is None
        optimizer: Optimizer = super().create_optimizer(model)
        if made:
            rate = self._config.gate_learning_rate
            set_apart(optimizer, gates(self._module.model), GATE_LEARNING_RATE if rate is None else rate)
            set_apart(optimizer, self._module.loss.parameters(), TEMPERATURE_LEARNING_RATE)
        return optimizer

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """The loss of one step; its report is kept for the log.

        Args:
            model: what is trained, as it is wrapped for several processes.
            inputs: the step.
            return_outputs: whether to return the report too.
            num_items_in_batch: not used; the loss is a mean over pairs.
        """
        outputs: dict[str, Tensor] = model(**{name: value for name, value in inputs.items() if name != PAIR_ROWS})
        self._meter.add(outputs, len(inputs[PAIR_ROWS]))
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """As the Trainer's: forward and backward of one step.

        Raises:
            TrainingError: the loss or a gradient is not finite; the batch is saved for inspection.
        """
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        # In fp16 gradients are scaled up, overflow now and then, and such a step is skipped.
        if not torch.isfinite(loss):
            reason = f"the loss is {float(loss)}"
        elif not self.args.fp16 and not has_finite_gradients(model):
            reason = "a gradient is not finite"
        else:
            return loss
        stop_training(reason, self.state.global_step + 1, self.args, self._prepared.pairs, inputs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As the Trainer's, with the averages since the last log beside a loss, and a learned temperature as it is."""
        if "loss" in logs:
            logs.update(self._meter.drain())
            if logs["masked_share"] == 1:
                logger.warning(
                    "every in-batch negative was left out as a false one, so that nothing is learned; give pairs with "
                    "different documents, or a higher false_negative_threshold"
                )
            if self._config.learn_temperature:
                logs["temperature"] = self._module.loss.temperature
        super().log(logs, start_time)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """nDCG@10 of the weights as they are now, on the run's evaluation sets or on those given.

        Args:
            eval_dataset: `RetrievalSet`s in place of the run's.
            ignore_keys: nothing here has keys.
            metric_key_prefix: put before the names.
        """
        began = time.perf_counter()
        sets = self._sets if eval_dataset is None else eval_dataset
        # Every process evaluates rather than wait for the first, whose figures then hold for all of them.
        figures = of_the_first(evaluate(self._encoder(), sets))
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._meter.leave_out(time.perf_counter() - began)
        return metrics

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the weights that are trained, adapters apart, into a checkpoint's directory.

        Args:
            output_dir: the run's own if None.
            _internal_call: whether the Trainer is writing a checkpoint.
        """
        folder = Path(output_dir or self._config.output_folder)
        self._keeper.writing = folder if _internal_call else None
        if self.args.should_save:
            settings = self.args.to_dict()  # type: ignore[no-untyped-call]
            write_weights(folder, self._module, settings)

    def _encoder(self) -> ContextualEncoder:
        model, device = self._module.model, self.args.device
        return ContextualEncoder(model, self._tokenizer, device=device, dtype="float32", name="in training")
