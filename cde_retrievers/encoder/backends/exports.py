"""Exporting a first stage once, and keeping the files in a cache."""

import logging
import os
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cde_retrievers.context.generic import generic_texts
from cde_retrievers.encoder.backends.record import REMEDY, ExportRecord, export_checksums, read_record, write_record
from cde_retrievers.encoder.backends.runtime import Integers
from cde_retrievers.encoder.backends.runtimes import RUNTIMES
from cde_retrievers.encoder.backends.verification import lowest_cosine
from cde_retrievers.encoder.cut_texts import counted_cut_texts
from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.errors import CDEError, CheckpointError, ConfigurationError
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.storage.atomic import atomic_directory, recovered
from cde_retrievers.storage.checksums import check_files, write_checksums
from cde_retrievers.storage.hashing import sha256_of_json
from cde_retrievers.validation.texts import checked_texts

logger = logging.getLogger(__name__)

_CALIBRATION_TEXTS = 300
_CACHE = Path("cde_retrievers") / "exports"
# Of a text's vector with that of torch. Int8 is a model of its own, so only what cannot be a model is refused.
_LOWEST_COSINES = {"float32": 0.9999, "bfloat16": 0.99, "int8": 0.5}


@dataclass(frozen=True, slots=True)
class Export:
    """The export of a model's first stage that is to be written, or is looked for in the cache."""

    model: ContextualModel
    record: ExportRecord
    calibration: Sequence[Integers]

    @classmethod
    def of(
        cls,
        model: ContextualModel,
        tokenizer: TextTokenizer,
        backend: str,
        precision: str,
        texts: Iterable[str] | None = None,
    ) -> "Export":
        """Describe an export.

        Args:
            model: whose first stage is exported.
            tokenizer: the model's.
            backend: the library that will run it.
            precision: one of its precisions.
            texts: to calibrate int8 on; those of the generic context if None.

        Raises:
            ConfigurationError: the model's contexts act by more than the closed form, so that no backend runs it; or
                there are no texts, or texts although nothing is calibrated.
            InvalidTextError: `texts` is not a collection of texts.
        """
        if not isinstance(model.config.conditioning, WhiteningConditioning):
            raise ConfigurationError(
                f"the {backend} backend runs models of conditioning 'whitening', and this one has "
                f"{model.config.conditioning.kind!r}; use backend='torch'"
            )
        runtime = RUNTIMES[backend]
        is_calibrated = precision in runtime.calibrated
        if texts is not None and not is_calibrated:
            raise ConfigurationError(
                f"texts calibrate int8 of the openvino backend alone, found backend={backend!r} and "
                f"precision={precision!r}; leave texts out"
            )
        rows = _calibration(model, tokenizer, texts) if is_calibrated else []
        record = ExportRecord.model_validate(
            {
                "backend": backend,
                "precision": precision,
                "first_stage": first_stage_fingerprint(model, tokenizer),
                "calibration": sha256_of_json([row.tolist() for row in rows]) if rows else None,
                "versions": runtime.versions(),
            }
        )
        return cls(model, record, rows)

    def write(self, folder: Path) -> None:
        """Write all files into an existing folder.

        Raises:
            MissingDependencyError: a library that writes them is not installed; names the extra.
            ConfigurationError: the backend cannot export this model, or computes other vectors than torch.
        """
        runtime = RUNTIMES[self.record.backend]
        runtime.check_export(self.record.precision)
        stage = deepcopy(self.model.first_stage).cpu().float().eval()
        longest = self.model.config.max_length
        try:
            runtime.export(stage, folder, self.record.precision, self.calibration, longest)
            agreement = lowest_cosine(runtime.load(folder, self.record.precision, 1), stage, longest)
        except (CDEError, OSError, MemoryError):
            raise
        except Exception as error:  # the libraries raise classes of their own, and dozens of them
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigurationError(
                f"this model cannot be exported to backend={runtime.name!r} with precision={self.record.precision!r} "
                f"({reason[0]}); use backend='torch'"
            ) from error
        # Not a number, where a vector is none, is refused too.
        if not agreement >= _LOWEST_COSINES[self.record.precision]:
            raise ConfigurationError(
                f"this model cannot be exported to backend={runtime.name!r} with precision={self.record.precision!r} "
                f"(there it computes other vectors: their cosine with those of torch is {agreement:.3f}); "
                f"use backend='torch'"
            )
        write_record(folder, self.record)
        write_checksums(folder)

    def cached(self, cache_folder: str | Path | None) -> Path:
        """Return the folder of this export in the cache, written first if there is none.

        A damaged export is written again, and files of others are left alone: the export is then put beside them.

        Args:
            cache_folder: the cache is in its directory `cde_retrievers_exports`; None for the user's, which is
                `$XDG_CACHE_HOME` or else `~/.cache`.

        Raises:
            MissingDependencyError, ConfigurationError: as `write`; also ConfigurationError without a home directory.
            WriteError: the cache cannot be written to.
        """
        root = user_cache() / _CACHE if cache_folder is None else Path(cache_folder) / "cde_retrievers_exports"
        name = self.record.key()
        number = 1
        while _is_foreign(root / name):
            number += 1
            name = f"{self.record.key()}-{number}"
        folder = recovered(root / name)
        if not self._is_intact(folder):
            logger.info("exporting the model to backend %r once, into %s", self.record.backend, folder)
            with atomic_directory(folder, is_export) as directory:
                self.write(directory)
        return folder

    def _is_intact(self, folder: Path) -> bool:
        try:
            return checked_export(folder) == self.record
        except CheckpointError:
            return False


def user_cache() -> Path:
    """Return the directory in which programs of this user keep what they can make again.

    Raises:
        ConfigurationError: the user has no home directory.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():  # others are to be ignored, as the standard of this variable says
        return given
    try:
        return Path.home() / ".cache"
    except RuntimeError as error:
        raise ConfigurationError(
            "there is no home directory to keep exported models in; give cache_folder=, or set XDG_CACHE_HOME"
        ) from error


def first_stage_fingerprint(model: ContextualModel, tokenizer: TextTokenizer) -> str:
    """Return the SHA-256 over everything but the number format that plain vectors depend on."""
    return sha256_of_json([model.first_stage_fingerprint(), tokenizer.fingerprint()])


def checked_export(folder: Path) -> ExportRecord:
    """Return the record of an export whose files are all as they were written.

    Raises:
        CheckpointError: there is none, or a file is missing, damaged or was added.
    """
    record = read_record(folder)
    check_files(folder, export_checksums(folder), CheckpointError, REMEDY)
    return record


def _calibration(model: ContextualModel, tokenizer: TextTokenizer, texts: Iterable[str] | None) -> list[Integers]:
    chosen = list(islice(checked_texts(generic_texts() if texts is None else texts), _CALIBRATION_TEXTS))
    if not chosen:
        raise ConfigurationError("int8 is calibrated on texts, found none; give some, or leave texts out")
    with counted_cut_texts():  # whether these are cut is of no interest to the user
        return tokenizer.encode([model.config.document_prompt + text for text in chosen])


def _is_foreign(folder: Path) -> bool:
    return os.path.lexists(folder) and not is_export(folder) and not (folder.is_dir() and not any(folder.iterdir()))


def is_export(folder: Path) -> bool:
    """Whether the folder holds what `Export.write` wrote."""
    try:
        read_record(folder)
    except CheckpointError:
        return False
    return True
