"""Training steps in two processes under DistributedDataParallel, for a test to compare with one process alone."""

from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import save_file
from steps import gradients_of, make_step
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cde_retrievers import ContextualModel
from cde_retrievers.training.contrastive_model import ContrastiveModel
from cde_retrievers.training.losses.contrastive import ContrastiveLoss
from cde_retrievers.training.losses.gradient_cache import gradient_cached

RANKS = 2
PAIRS = 6  # of each process
CONTEXT = 7  # documents of each process: four chunks


def objective(folder: Path, chunk_size: int | None = 2) -> ContrastiveModel:
    """A saved model under a loss that reads everything there is to share between processes; no dropout."""
    loss = ContrastiveLoss(temperature=0.5, matryoshka_dims=(32, 8))
    return ContrastiveModel(ContextualModel.from_pretrained(folder), loss, chunk_size=chunk_size).eval()


def excluded(query: int, pair: int, negative: bool) -> bool:
    """Whether a query leaves out the positive or the negative of a pair: some, never its own."""
    return query != pair and (3 * query + pair + negative) % 4 == 0


def documents_of(pairs: range) -> list[tuple[int, bool]]:
    return [(pair, negative) for negative in (False, True) for pair in pairs]


def step_of(rank: int, reads_context: bool) -> dict[str, Tensor]:
    """The share of one process."""
    pairs = range(rank * PAIRS, (rank + 1) * PAIRS)
    context = slice(10 + rank * CONTEXT, 10 + (rank + 1) * CONTEXT) if reads_context else None
    step = make_step(slice(pairs.start, pairs.stop), context=context)
    columns = [place for r in range(RANKS) for place in documents_of(range(r * PAIRS, (r + 1) * PAIRS))]
    step["excluded"] = torch.tensor([[excluded(query, *place) for place in columns] for query in pairs])
    return step


def whole_step(reads_context: bool) -> dict[str, Tensor]:
    """The same for one process."""
    pairs = range(RANKS * PAIRS)
    step = make_step(slice(0, len(pairs)), context=slice(10, 10 + RANKS * CONTEXT) if reads_context else None)
    step["excluded"] = torch.tensor([[excluded(query, *place) for place in documents_of(pairs)] for query in pairs])
    return step


class WithUnusedParameter(nn.Module):
    """Has a parameter that no chunk reads."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.used, self.unused = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        chunks = rows.split(2)
        return {
            "loss": gradient_cached(lambda chunk, _: self.used(chunk), chunks, None, self.parameters()).square().mean()
        }


def rows_of(rank: int) -> Tensor:
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(rank))


def run_in_two(folders: dict[str, Path], output: Path) -> None:
    """Gradients of each model after one step in two processes, and of a module twice in a row -> files in `output`."""
    mp.spawn(_process, args=(folders, output), nprocs=RANKS)


def _process(rank: int, folders: dict[str, Path], output: Path) -> None:
    torch.set_num_threads(1)
    place, patience = f"file://{output}/rendezvous", timedelta(minutes=30)
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=RANKS, timeout=patience)
    _steps(rank, folders, output)
    # Nobody leaves while another still talks to him, nor before what holds on to the group is gone.
    dist.barrier()
    dist.destroy_process_group()


def _steps(rank: int, folders: dict[str, Path], output: Path) -> None:
    for name, folder in folders.items():
        model = objective(folder)
        step = step_of(rank, model.model.second_stage.reads_context)
        _save(output / f"{name}-{rank}.safetensors", gradients_of(DistributedDataParallel(model), step))
    module = DistributedDataParallel(WithUnusedParameter())
    for _ in range(2):  # what was not synchronised is noticed at the second step
        found = gradients_of(module, {"rows": rows_of(rank)})
    _save(output / f"unused-{rank}.safetensors", found)


def _save(path: Path, gradients: dict[str, Tensor | None]) -> None:
    save_file({name.removeprefix("module."): g for name, g in gradients.items() if g is not None}, path)
