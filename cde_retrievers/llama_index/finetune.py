"""LlamaIndex's way to fine-tune an embedding, for contextual ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cde_retrievers.errors import ConfigurationError, TrainingError
from cde_retrievers.llama_index.embeddings import ContextualEmbedding
from cde_retrievers.model.checkpoints import is_own_layout
from cde_retrievers.model.config import Conditioning

if TYPE_CHECKING:
    from cde_retrievers.training.config import TrainingConfig

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from cde_retrievers.errors import TrainingDataError
from cde_retrievers.storage.atomic import atomic_directory

_VALIDATION_FOLDER = "validation"


class ContextualFinetuneEngine:
    """Trains a contextual embedding on questions and the nodes that answer them.

    It is called as LlamaIndex's `SentenceTransformersFinetuneEngine` is, and needs nothing of `llama_index.finetuning`.

    Example:
        ```python
        engine = ContextualFinetuneEngine(dataset, model_id="minilm", batch_size=64)
        engine.finetune()
        embed_model = engine.get_finetuned_model().fit(nodes)
        ```

    Args:
        dataset: an `EmbeddingQAFinetuneDataset`, an object with its `queries`, `corpus` and `relevant_docs`, or
            the path of the JSON file that its `save_json` wrote.
        model_id: "minilm", or a directory or hub repository with a bi-encoder or with a contextual model.
        model_output_path: directory of the run: checkpoints, log, and the model in `model`.
        batch_size: pairs of a batch. Their documents are each other's negatives, so that more of them teach more.
        val_dataset: as `dataset`; nDCG@10 is measured on it under a context of its own corpus, and the weights with the
            best are kept. It is written into `validation` in the output directory as a BEIR folder.
        epochs: times through all pairs.
        show_progress_bar: whether to show one, in a terminal or a notebook.
        evaluation_steps: steps between two evaluations; one at the end of each epoch if None.
        use_all_docs: train on every document of a query, not on the first alone.
        conditioning: makes a contextual model of a bi-encoder: "joint", "cached" (if None) or "whitening", or their
            settings. A model that is contextual already is trained as it is.
        model_settings: of the contextual model made of a bi-encoder, such as prompts or `max_length`.

    Raises:
        TrainingDataError: a data set is of another type, or names ids that it does not contain.
        ConfigurationError: `evaluation_steps` is given without `val_dataset`, or not above 0.
        MissingDependencyError: what training needs is not installed; names the extra.
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
        from cde_retrievers.util.imports import require

        require("accelerate", "fine-tuning", extra="train")
        if evaluation_steps is not None and (val_dataset is None or evaluation_steps < 1):
            raise ConfigurationError(
                f"evaluation_steps={evaluation_steps} counts the steps between evaluations on val_dataset; give that, "
                f"and a number above 0, or leave evaluation_steps out"
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
        """Train.

        Args:
            train_kwargs: fields of `cde_retrievers.training.TrainingConfig`, such as `learning_rate`, `lora_rank`, or
                `resume_from_checkpoint=True` to continue an interrupted run.

        Raises:
            TrainingDataError: there are fewer pairs than a batch has.
            ConfigurationError: a setting is unknown, impossible, or does not fit the model.
            CheckpointError: there is no such model.
            TrainingError: the output directory holds another run; there is no checkpoint to resume from; a loss is not
                finite; the disk is full.
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
        """The trained model as an embedding. It has no context yet: `fit` it on the nodes of the index first.

        Args:
            model_kwargs: as `ContextualEmbedding` takes them, such as `device`, or `context_path` for a context that
                was fitted with this model before.

        Raises:
            TrainingError: `finetune` has not ended yet.
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
            {**self._arguments, **self._evaluated(), "output_dir": str(self._output), **changed}
        )

    def _evaluated(self) -> dict[str, Any]:
        """Evaluations, and a checkpoint with each, of which the best is loaded at the end."""
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


_PARTS = ("queries", "corpus", "relevant_docs")
_CORPUS_FILE = "corpus.jsonl"


@dataclass(slots=True)
class QAData:
    """Queries and the documents that answer them, checked.

    Attributes:
        queries: text by id.
        corpus: text by id.
        relevant_docs: ids of documents, by id of the query that they answer.
    """

    queries: Mapping[str, str]
    corpus: Mapping[str, str]
    relevant_docs: Mapping[str, list[str]]

    @classmethod
    def read(cls, dataset: Any) -> Self:
        """Anything with these three attributes, or the path of a JSON file with them.

        Raises:
            TrainingDataError: it has not, names what it does not have, or a text is empty.
        """
        from cde_retrievers.training.data.qa_dataset import QADataset
        from cde_retrievers.training.data.read import read_pairs

        if not isinstance(dataset, str | Path | QADataset):
            raise TrainingDataError(
                f"dataset must be a data set with {', '.join(_PARTS)} or the path of its JSON file, found "
                f"{type(dataset).__name__}; make one with generate_qa_embedding_pairs, or train on other pairs with "
                f"cde_retrievers.training.train"
            )
        read_pairs(dataset)  # checks it
        if isinstance(dataset, str | Path):
            content = _json(Path(dataset))
            return cls(*(content[name] for name in _PARTS))
        return cls(*(getattr(dataset, name) for name in _PARTS))

    def first_documents(self) -> Self:
        """Each query with the first of its documents alone."""
        return replace(self, relevant_docs={query: [*found[:1]] for query, found in self.relevant_docs.items()})

    def write_beir(self, folder: Path) -> None:
        """Write it as a BEIR folder, whole or not at all.

        Raises:
            PathInUseError: something else is there.
        """
        with atomic_directory(folder, lambda older: (older / _CORPUS_FILE).is_file()) as directory:
            documents = ({"_id": id, "title": "", "text": text} for id, text in self.corpus.items())
            queries = ({"_id": id, "text": text} for id, text in self.queries.items())
            for name, rows in ((_CORPUS_FILE, documents), ("queries.jsonl", queries)):
                lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
                (directory / name).write_text("".join(lines), encoding="utf-8")
            (directory / "qrels").mkdir()
            with (directory / "qrels" / "test.tsv").open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, delimiter="\t")
                table.writerow(("query-id", "corpus-id", "score"))
                table.writerows((query, found, 1) for query, ids in self.relevant_docs.items() for found in ids)


def _json(path: Path) -> dict[str, Any]:
    from cde_retrievers.corpora.decoding import open_text

    if not path.name.lower().endswith((".json", ".json.gz")):
        raise TrainingDataError(
            f"{path} is not the JSON file of such a data set; save it with save_json(path) as .json, or train on other "
            f"pairs with cde_retrievers.training.train"
        )
    with open_text(path, "utf-8") as stream:
        content: dict[str, Any] = json.load(stream)
    return content
