"""The options of `train`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from cde_retrievers.cli.options import ReadingOptions

ConditioningName = Literal["cached", "joint", "whitening"]
Batching = Literal["contextual", "random"]
Device = Literal["auto", "cpu"]
Arithmetic = Literal["float32", "bfloat16"]

_MODEL, _TRAINING = "Model", "Training"


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
    """What is trained, and where."""

    model: Annotated[
        str,
        Option(
            metavar="NAME",
            rich_help_panel=_MODEL,
            help="'minilm', or a folder or hub repository with a bi-encoder or with a contextual model.",
        ),
    ] = "minilm"
    conditioning: Annotated[
        ConditioningName | None,
        Option(
            rich_help_panel=_MODEL,
            help="How a bi-encoder is to read its context ('cached' if left out). A model that is contextual already "
            "is trained as it is.",
        ),
    ] = None
    max_length: Annotated[
        int | None,
        Option(
            metavar="TOKENS",
            min=4,
            rich_help_panel=_MODEL,
            help="What is read of a text, of a bi-encoder only (its own if left out).",
        ),
    ] = None
    device: Annotated[
        Device, Option(rich_help_panel=_MODEL, help="'auto' for an accelerator if there is one, or 'cpu'.")
    ] = "auto"

    @property
    def settings(self) -> dict[str, Any]:
        """What `encoder_to_train` is told besides the name."""
        length = {} if self.max_length is None else {"max_length": self.max_length}
        return {"conditioning": self.conditioning, "device": self.device, **length}


@dataclass(frozen=True)
class TrainingOptions:
    """How it is trained: the settings most often asked for, and a way to all others."""

    epochs: Annotated[
        float | None,
        Option(metavar="NUMBER", rich_help_panel=_TRAINING, help="Times through all pairs (3 if left out)."),
    ] = None
    batch_size: Annotated[
        int | None,
        Option(
            metavar="PAIRS",
            rich_help_panel=_TRAINING,
            help="Whose documents are each other's negatives (64 if left out); memory hardly grows with it.",
        ),
    ] = None
    learning_rate: Annotated[
        float | None, Option(metavar="NUMBER", rich_help_panel=_TRAINING, help="At its highest (2e-5 if left out).")
    ] = None
    batching: Annotated[
        Batching | None,
        Option(
            rich_help_panel=_TRAINING,
            help="Batches of pairs that are hard to tell apart ('contextual', if left out) or of any pairs.",
        ),
    ] = None
    lora_rank: Annotated[
        int | None,
        Option(
            metavar="NUMBER", rich_help_panel=_TRAINING, help="Train adapters of this rank (all weights if left out)."
        ),
    ] = None
    dtype: Annotated[
        Arithmetic | None,
        Option(rich_help_panel=_TRAINING, help="Of the arithmetic (float32 if left out); weights stay float32."),
    ] = None
    evaluate: Annotated[
        list[Path] | None,
        Option(
            metavar="FOLDER",
            rich_help_panel=_TRAINING,
            help="BEIR folder to measure nDCG@10 on, before training and after each epoch; the best epoch is kept.",
        ),
    ] = None
    setting: Annotated[
        list[str] | None,
        Option(
            metavar="NAME=VALUE",
            rich_help_panel=_TRAINING,
            help="Any field of TrainingConfig, those of transformers' TrainingArguments included; a value as in TOML, "
            "or None.",
        ),
    ] = None
