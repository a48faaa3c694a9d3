"""`make test-bfloat16` makes dtype="auto" bfloat16 in every process that a test starts."""

import os
import subprocess
import sys
from pathlib import Path

PATCH = Path(__file__).parent / "helpers" / "auto_is_bfloat16"
CODE = """
import pickle, torch
from cde_retrievers.encoder.device import resolve_dtype
print(pickle.loads(pickle.dumps(resolve_dtype))("auto", torch.device("cpu")))
"""


def test_auto_is_patched_in_a_process_that_a_test_starts():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PATCH), *sys.path])}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "torch.bfloat16\n"
