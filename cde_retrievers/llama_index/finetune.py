"""Fine-tuning of a contextual embedding, with the interface of LlamaIndex's fine-tuning engines."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cde_retrievers.errors import ConfigurationError, TrainingError
from cde_retrievers.llama_index.embeddings import ContextualEmbedding
from cde_retrievers.model.checkpoints import is_own_layout
from cde_retrievers.model.config import Conditioning

if TYPE_CHECKING:
    from cde_retrievers.training.config import TrainingConfig

_VALIDATION_FOLDER = "validation"


class ContextualFinetuneEngine:
    """Trains a contextual embedding on questions and the nodes that answer them.

    It has the interface of LlamaIndex's `SentenceTransformersFinetuneEngine`, and does not need
    `llama_index.finetuning`.

    Example:
        ```python
        engine = ContextualFinetuneEngine(dataset, model_id="minilm", batch_size=64)
        engine.finetune()
        embed_model = engine.get_finetuned_model().fit(nodes)
        ```

    Args:
        dataset: an `EmbeddingQAFinetuneDataset`, an object with its `queries`, `corpus` and `relevant_docs`, or
            the path of a JSON file written by its `save_json`.
        model_id: "minilm", or a directory or hub repository with a bi-encoder or with a contextual model.
        model_output_path: directory of the run: checkpoints, log, and the model in `model`.
        batch_size: pairs in a batch. Their documents are each other's negatives, so larger batches train better.
        val_dataset: like `dataset`; nDCG@10 is measured on it under a context of its own corpus, and the best weights
            are kept. It is written as a BEIR folder to `validation` in the output directory.
        epochs: passes over all pairs.
        show_progress_bar: show a progress bar in a terminal or a notebook.
        evaluation_steps: steps between two evaluations; if None, there is one at the end of each epoch.
        use_all_docs: train on every document of a query, not only on the first.
        conditioning: conditioning of a contextual model made from a bi-encoder: "joint", "cached" (if None) or
            "whitening", or their settings. A contextual model keeps its own.
        model_settings: settings of a contextual model made from a bi-encoder, such as prompts or `max_length`.

    Raises:
        TrainingDataError: a data set is of another type, or names ids that it does not contain.
        ConfigurationError: `evaluation_steps` is given without `val_dataset`, or not above 0.
        MissingDependencyError: a package for training is not installed; names the extra.
    """

    def __init__(
        self,
        dataset: Any,
        model_id: str | Path = "minilm",
        model_output_path: str | Path = "exp_finetune",
        batch_size: int = 10,
        val_dataset: Any = None,
        epochs: int = 2,
        show_progress_bar: bool = True,
        evaluation_steps: int | None = None,
        use_all_docs: bool = False,
        *,
        conditioning: str | Conditioning | None = None,
        **model_settings: Any,
    ) -> None:
        from cde_retrievers.training.data.qa_beir import QAData
        from cde_retrievers.util.imports import require

        require("accelerate", "fine-tuning", extra="train")
        if evaluation_steps is not None and (val_dataset is None or evaluation_steps < 1):
            raise ConfigurationError(
                f"evaluation_steps={evaluation_steps} is the number of steps between evaluations on val_dataset; give "
                f"val_dataset and a number above 0, or leave evaluation_steps out"
            )
        read = QAData.read(dataset)
        self._data = read if use_all_docs else read.first_documents()
        self._validation = None if val_dataset is None else QAData.read(val_dataset)
        self._model_id = model_id
        self._conditioning = conditioning
        self._model_settings = model_settings
        self._output = Path(model_output_path)
        self._evaluation_steps = evaluation_steps
        self._arguments: dict[str, Any] = {
            "per_device_train_batch_size": batch_size,
            "num_train_epochs": epochs,
            "disable_tqdm": None if show_progress_bar else True,
        }

    @property
    def model_path(self) -> Path:
        """The directory of the trained model, for `ContextualEmbedding` or `ContextualEncoder.from_pretrained`."""
        return self._output / "model"

    def finetune(self, **train_kwargs: Any) -> None:
        """Train the model, and write it to `model_path`.

        Args:
            train_kwargs: fields of `cde_retrievers.training.TrainingConfig`, such as `learning_rate`, `lora_rank`, or
                `resume_from_checkpoint=True` to continue an interrupted run.

        Raises:
            TrainingDataError: there are fewer pairs than in a batch.
            ConfigurationError: a setting is unknown, impossible, or does not suit the model.
            CheckpointError: the model does not exist.
            TrainingError: the output directory holds another run, there is no checkpoint to resume from, a loss is not
                finite, or the disk is full.
            MissingDependencyError: a package is not installed; names the extra.
        """
        from cde_retrievers.training.base_model import encoder_to_train
        from cde_retrievers.training.data.pair_statistics import check_enough
        from cde_retrievers.training.data.read import read_pairs
        from cde_retrievers.training.run import train

        pairs = read_pairs(self._data)
        config = self._config(train_kwargs)
        check_enough(pairs, config.global_batch_size)
        device = "cpu" if config.use_cpu else "auto"
        encoder = encoder_to_train(self._model_id, self._conditioning, device=device, **self._model_settings)
        train(encoder, pairs, config)

    def get_finetuned_model(self, **model_kwargs: Any) -> ContextualEmbedding:
        """Return the trained model as an embedding, without a context: `fit` it on the nodes of the index.

        Args:
            model_kwargs: arguments of `ContextualEmbedding`, such as `device`, or `context_path` for a context that
                was fitted with this model.

        Raises:
            TrainingError: `finetune` has not finished.
        """
        if not is_own_layout(self.model_path):
            raise TrainingError(f"{self.model_path} holds no trained model; call finetune() first")
        return ContextualEmbedding(self.model_path, **model_kwargs)

    def _config(self, changed: dict[str, Any]) -> "TrainingConfig":
        from cde_retrievers.training.config import TrainingConfig

        if "output_dir" in changed:
            raise ConfigurationError(
                "the directory of the run is model_output_path here; give that instead of output_dir"
            )
        return TrainingConfig.from_dict(
            {**self._arguments, **self._evaluation_settings(), "output_dir": str(self._output), **changed}
        )

    def _evaluation_settings(self) -> dict[str, Any]:
        """Return settings for evaluations with a checkpoint each, the best of which is loaded at the end."""
        if self._validation is None:
            return {}
        folder = self._output / _VALIDATION_FOLDER
        self._validation.write_beir(folder)
        settings: dict[str, Any] = {"evaluation": (str(folder),), "load_best_model_at_end": True}
        if self._evaluation_steps is None:
            return {**settings, "eval_strategy": "epoch", "save_strategy": "epoch"}
        steps = self._evaluation_steps
        return {
            **settings, "eval_strategy": "steps", "eval_steps": steps, "save_strategy": "steps", "save_steps": steps,
        }  # fmt: skip
