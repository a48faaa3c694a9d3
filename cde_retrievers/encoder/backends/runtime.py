"""The interface of a library that runs an exported first stage. Axes: B texts, L tokens, W width."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import MissingDependencyError
from cde_retrievers.model.first_stage import FirstStage
from cde_retrievers.util.imports import require
from cde_retrievers.validation.vectors import Embeddings

Integers = NDArray[np.int64]
# (token ids (B, L), mask (B, L)) -> vectors (B, W), not normalised; safe to call from several threads
Graph = Callable[[Integers, Integers], Embeddings]


class Runtime(ABC):
    """Exports first stages to files, and runs them.

    Attributes:
        name: of the backend, and of the extra that installs it.
        precisions: those it can compute in, the most exact first.
        runs: the modules that run a file.
        writes: the further modules that write one.
        calibrated: the precisions that need calibration texts.
        tokens_per_thread: padded tokens of a batch for each thread, where more are slower; None where they are not.
    """

    name: str
    precisions: tuple[str, ...]
    runs: tuple[str, ...]
    writes: tuple[str, ...]
    calibrated: tuple[str, ...] = ()
    tokens_per_thread: int | None = None

    def check(self, precision: str) -> None:
        """Raise MissingDependencyError or DeviceError unless this runtime computes in `precision` here."""
        for module in self.runs:
            self._check_import(module, f"backend={self.name!r}")

    def check_export(self, precision: str) -> None:
        """Raise as `check`, also if a library that writes the files is missing."""
        self.check(precision)
        for module in self.writes:
            require(module, f"exporting a model to backend={self.name!r}", extra=self.name)

    def _check_import(self, module: str, what: str) -> None:
        require(module, what, extra=self.name)
        try:
            import_module(module)
        except ImportError as error:  # it is there, and a library of the system, or another version of NumPy, is not
            raise MissingDependencyError(
                f"{what} needs {module}, which is installed but cannot be imported ({error}); install it again: "
                f"pip install --force-reinstall {module}, or use backend='torch'"
            ) from error

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries that a file depends on, by name."""
        return {module: _version(module) for module in ("torch", "transformers", *self.runs, *self.writes)}

    @abstractmethod
    def export(
        self, stage: FirstStage, folder: Path, precision: str, calibration: Sequence[Integers], longest: int
    ) -> None:
        """Write the stage into an existing folder.

        Args:
            stage: in float32, on the CPU, in evaluation mode.
            folder: gets the files.
            precision: the format of the numbers to multiply.
            calibration: token ids (L,) of texts like those to embed, for the precisions in `calibrated`.
            longest: the largest L.

        Raises:
            Exception: whatever the library raises where it cannot export this model.
        """

    @abstractmethod
    def load(self, folder: Path, precision: str, threads: int) -> Graph:
        """Return the stage that `export` wrote into the folder, to run in this many threads."""


def _version(module: str) -> str:
    try:
        return version(module)
    except PackageNotFoundError:
        return "unknown"
