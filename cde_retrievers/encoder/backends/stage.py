"""A first stage that was exported, run by its backend. Axes: B texts, L tokens, W width."""

import os
from pathlib import Path
from shutil import copytree

import torch
from torch import Tensor, nn

from cde_retrievers.encoder.backends.record import REMEDY, ExportRecord, read_record
from cde_retrievers.encoder.backends.runtime import Graph
from cde_retrievers.encoder.backends.runtimes import RUNTIMES
from cde_retrievers.errors import CheckpointError
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.model.whitening import WhiteningSecondStage


class ExportedStage(nn.Module):
    """Maps texts to their plain vectors as `FirstStage.pooled` does, in as many threads as torch uses.

    Args:
        folder: holds the export.

    Raises:
        CheckpointError: the backend cannot read the export.
        DeviceError, MissingDependencyError: the backend does not run here.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.record: ExportRecord = read_record(folder)
        self.tokens_per_thread = RUNTIMES[self.record.backend].tokens_per_thread
        self._graphs: dict[tuple[int, int], Graph] = {}
        self._graph()  # what is wrong with the files is found before a text is

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map right-padded token ids (B, L) and mask (B, L) on the CPU -> (B, W) float32, not normalised."""
        return torch.from_numpy(self._graph()(input_ids.numpy(), attention_mask.numpy()))

    pooled = forward

    def copy(self, folder: Path) -> None:
        """Copy the export into an existing folder.

        Raises:
            CheckpointError: it was removed or replaced since it was loaded.
        """
        self._check_unchanged()
        copytree(self.folder, folder, dirs_exist_ok=True)
        self._check_unchanged()

    def _graph(self) -> Graph:
        # One for each process: the threads of a parent do not live on in a forked child, which must not wait for them.
        key = (os.getpid(), torch.get_num_threads())
        if key not in self._graphs:
            self._graphs[key] = self._loaded(key[1])
        return self._graphs[key]

    def _loaded(self, threads: int) -> Graph:
        runtime = RUNTIMES[self.record.backend]
        runtime.check(self.record.precision)
        self._check_unchanged()
        try:
            graph = runtime.load(self.folder, self.record.precision, threads)
        except MemoryError:
            raise
        except Exception as error:  # the libraries raise classes of their own
            raise CheckpointError(
                f"backend {self.record.backend!r} cannot load {self.folder} ({error}), which was written with "
                f"{self.record.versions}; {REMEDY}"
            ) from error
        self._check_unchanged()  # it may have been replaced while it was read
        return graph

    def _check_unchanged(self) -> None:
        if not self.folder.is_dir():
            raise CheckpointError(f"the exported model {self.folder} is no longer there; load the model again")
        # Not the checksums: those of OpenVINO's files differ each time that one model is exported.
        if read_record(self.folder) != self.record:
            raise CheckpointError(f"{self.folder} holds another export than when it was loaded; load the model again")


def over_exported_stage(model: ContextualModel, stage: ExportedStage) -> WhiteningSecondStage:
    """Return the second stage of a model of conditioning "whitening", over an exported first stage."""
    conditioning = model.config.conditioning
    assert isinstance(conditioning, WhiteningConditioning)
    return WhiteningSecondStage(stage, model.width, conditioning)
