"""`serve`: what it says before it serves, and that it serves."""

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from functools import partial

import pytest

pytest.importorskip("uvicorn")

import httpx

from cde_retrievers.cli.commands.serve import serve
from cde_retrievers.serving.settings import ServingSettings


@pytest.fixture
def contexts(run, source, model_folder, tmp_path):
    for alias in ("cats", "more"):
        done = run("fit", source, "--out", tmp_path / "contexts" / alias, "--model", model_folder)
        assert done.exit_code == 0, done.stderr
    return tmp_path / "contexts"


def test_it_serves_until_it_is_interrupted(contexts):
    """The model is the one that fitted the contexts."""
    arguments = ["serve", "--contexts", contexts, "--port", "0", "--device", "cpu", "--dtype", "float32", "--json"]
    command = [sys.executable, "-m", "cde_retrievers.cli", *map(str, arguments)]
    environment = {**os.environ, "CDE_RETRIEVERS_TOKEN": "a-token"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A job in the background ignores Ctrl-C, and so would what it starts.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, env=environment, preexec_fn=heed, **pipes) as server:
        try:
            said = json.loads(server.stdout.readline())
            headers = {"authorization": "Bearer a-token"}
            request = {"model": "cats:query", "input": "red cat"}
            answer = httpx.post(f"{said['url']}/embeddings", json=request, headers=headers, timeout=60)
        finally:
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=60)
    assert said["contexts"] == ["cats", "more"]
    assert said["token"] is True
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"][0]["embedding"]) == 32
    assert server.returncode == 130
    assert errors == "interrupted. The server has stopped.\n"


def test_the_limits_are_those_of_the_library():
    defaults = {name: parameter.default for name, parameter in inspect.signature(serve).parameters.items()}
    limits = asdict(ServingSettings())
    assert {name: default for name, default in defaults.items() if name in limits} == {
        name: limit for name, limit in limits.items() if name != "read_seconds"
    }


def refused(run, *arguments):
    result = run("serve", *arguments)
    assert result.exit_code == 1, result.stdout
    assert result.stdout == ""
    return result.stderr


def test_what_cannot_be_served_is_said_at_once(run, contexts, tmp_path, monkeypatch):
    monkeypatch.delenv("CDE_RETRIEVERS_TOKEN", raising=False)
    (tmp_path / "empty").mkdir()
    assert "holds no context" in refused(run, "--contexts", tmp_path / "empty")
    assert "cannot be listed" in refused(run, "--contexts", tmp_path / "missing")
    assert "is itself a context" in refused(run, "--contexts", contexts / "cats")
    assert "there is no token" in refused(run, "--contexts", contexts, "--host", "0.0.0.0")
    assert "max_waiting_texts" in refused(run, "--contexts", contexts, "--max-waiting-texts", "5")
    assert "is empty" in refused(run, "--contexts", contexts, "--token-file", os.devnull)
    shutil.copytree(contexts / "cats", contexts / "cats:query")
    assert "rename it" in refused(run, "--contexts", contexts, "--port", "0")


def test_a_damaged_context_is_said_before_it_serves(run, contexts):
    (contexts / "more" / "vectors.safetensors").write_bytes(b"")
    assert "damaged" in refused(run, "--contexts", contexts, "--port", "0")
