"""The record of an exported first stage: a JSON file beside the files that its backend wrote."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cde_retrievers.errors import CheckpointError
from cde_retrievers.storage.checked_json import read_checksummed, sealed
from cde_retrievers.storage.checksums import Sha256, read_checksums
from cde_retrievers.storage.hashing import sha256_of_json, write_json

EXPORT_FOLDER = "export"
RECORD_FILE = "export.json"
FORMAT_VERSION = 2
REMEDY = "load the model with backend='torch', which needs no export, and write it again by ContextualEncoder.export"


class ExportRecord(BaseModel):
    """What was exported.

    Attributes:
        backend: the library that runs it.
        precision: the format of the numbers it multiplies.
        first_stage: fingerprint of the first stage and its tokenizer.
        calibration: SHA-256 of the token ids that int8 was calibrated on; None without calibration.
        versions: versions of the libraries that wrote it, by name; informative only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    backend: Literal["onnx", "openvino"]
    precision: Literal["float32", "bfloat16", "int8"]
    first_stage: Sha256
    calibration: Sha256 | None
    versions: dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=100)]]

    def key(self) -> str:
        """Return the SHA-256 over everything: equal records are of equal exports."""
        return sha256_of_json([FORMAT_VERSION, self.model_dump()])

    @property
    def arithmetic(self) -> tuple[Literal["onnx", "openvino"], Literal["float32", "bfloat16", "int8"]]:
        """Backend and precision."""
        return self.backend, self.precision

    def own_vectors(self) -> list[str | None]:
        """Return what tells vectors of this precision from those of float32; nothing if both fit one index."""
        return ["int8", self.backend, self.calibration] if self.precision == "int8" else []


def write_record(folder: Path, record: ExportRecord) -> None:
    """Write the record into the folder."""
    write_json(folder / RECORD_FILE, sealed(record.model_dump(), FORMAT_VERSION))


def read_record(folder: Path) -> ExportRecord:
    """Read what `write_record` wrote.

    Raises:
        CheckpointError: it is missing, damaged, or of another version.
    """
    path = folder / RECORD_FILE
    if not os.path.isfile(path):
        raise CheckpointError(f"{folder} holds no exported model: there is no {RECORD_FILE} in it; {REMEDY}")
    try:
        return ExportRecord(**read_checksummed(path, CheckpointError, REMEDY, FORMAT_VERSION))
    except ValidationError as error:
        raise CheckpointError(
            f"{path} does not describe an exported model ({error.error_count()} errors); {REMEDY}"
        ) from error


def export_checksums(folder: Path) -> dict[str, str]:
    """Read the SHA-256 of every file of an export, its record included, by name.

    Raises:
        CheckpointError: they are missing or damaged.
    """
    try:
        return read_checksums(folder, CheckpointError, REMEDY)
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} is incomplete: it has no checksums; {REMEDY}") from error
