"""A whole run in two processes, started by torchrun, against one process with batches twice the size."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import PAIRS, write_beir
from safetensors.torch import load_file
from tiny import CORPUS

from cde_retrievers.training.checkpoints import checkpoints_in, is_complete

PROGRAM = Path(__file__).parents[1] / "helpers" / "train_in_two.py"
DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")


def torchrun(processes, *arguments):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
    command += [f"--master_port={port}", str(PROGRAM), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1_800)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_end_alike_and_near_one_with_the_same_batches(make_encoder, tmp_path):
    encoder = make_encoder("cached")
    encoder.config.backbone.update(dict.fromkeys(DROPOUT, 0.0))
    encoder.save(tmp_path / "model")
    documents = {f"d{place}": text for place, text in enumerate(CORPUS)}
    beir = write_beir(tmp_path / "beir", documents, [(PAIRS[0].query, "d0")])
    for processes, batch in ((2, 6), (1, 12)):
        torchrun(processes, tmp_path / "model", tmp_path / f"in-{processes}", batch, beir)
    names = [tmp_path / "in-2" / "process-0", tmp_path / "in-2" / "process-1", tmp_path / "in-1" / "process-0"]
    first, second, alone = (load_file(name / "model.safetensors") for name in names)
    begun = encoder.model.state_dict()
    assert first.keys() == second.keys() == alone.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    moved = max(float((alone[name] - begun[name]).abs().max()) for name in alone)
    assert moved > 1e-3
    assert max(float((first[name] - alone[name]).abs().max()) for name in first) < 1e-3 * moved
    assert checkpoints_in(tmp_path / "in-2" / "run")
    assert all(is_complete(path) for path in checkpoints_in(tmp_path / "in-2" / "run"))
