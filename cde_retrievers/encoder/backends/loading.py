"""Loading a model to run in the backend that the caller, or an export on disk, asks for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cde_retrievers.encoder.backends.arithmetic import Arithmetic, Backend, Precision, resolve_arithmetic
from cde_retrievers.encoder.backends.exports import Export, checked_export, first_stage_fingerprint
from cde_retrievers.encoder.backends.record import EXPORT_FOLDER, REMEDY, read_record
from cde_retrievers.encoder.backends.stage import ExportedStage
from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.errors import CheckpointError
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.storage.atomic import recovered


@dataclass(frozen=True, slots=True)
class Choice:
    """The arithmetic of an encoder that is about to be loaded.

    Attributes:
        arithmetic: what the settings ask for.
        shipped: the export beside the model's weights, if that is to be used.
    """

    arithmetic: Arithmetic
    shipped: Path | None

    def settings(self, model: ContextualModel, tokenizer: object, cache_folder: str | Path | None) -> dict[str, Any]:
        """Return the encoder's `device`, `dtype` and `exported`; the model is exported if that was not done before.

        Raises:
            CheckpointError: the shipped export is damaged, or is of another model.
            ConfigurationError, MissingDependencyError, WriteError: as `Export.of` and `Export.cached`.
        """
        device, backend = self.arithmetic.device, self.arithmetic.backend
        if backend == "torch":
            return {"device": device, "dtype": self.arithmetic.dtype}
        texts = TextTokenizer.of(tokenizer, model.config)
        if self.shipped is None:
            folder = Export.of(model, texts, backend, self.arithmetic.precision).cached(cache_folder)
        else:
            folder = self.shipped
            _check_shipped(folder, first_stage_fingerprint(model, texts))
        return {"device": device, "exported": ExportedStage(folder)}


def choose(
    path: str | Path | None,
    device: str | torch.device,
    dtype: str | torch.dtype,
    backend: Backend | None,
    precision: Precision,
) -> Choice:
    """Return the arithmetic for a model, and its export where `ContextualEncoder.export` wrote one beside it.

    Args:
        path: name or directory of the model; None if it cannot have an export.
        device: as in `resolve_arithmetic`.
        dtype: likewise.
        backend: likewise; None for that of the export, else torch.
        precision: likewise; "auto" for that of the export, if it is used.

    Raises:
        As `resolve_arithmetic`, and CheckpointError if the record of the export is damaged.
    """
    shipped = None if path is None else recovered(path) / EXPORT_FOLDER
    if shipped is not None and shipped.is_dir() and backend != "torch":
        record = read_record(shipped)
        if backend in (None, record.backend) and precision in ("auto", record.precision):
            return Choice(resolve_arithmetic(device, dtype, *record.arithmetic), shipped)
    return Choice(resolve_arithmetic(device, dtype, backend or "torch", precision), None)


def _check_shipped(folder: Path, first_stage: str) -> None:
    if checked_export(folder).first_stage != first_stage:
        raise CheckpointError(f"{folder} was exported from another model than the one beside it; {REMEDY}")
