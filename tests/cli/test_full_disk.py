"""A full disk, a real one: one line says so, nothing is half written, and once there is room the command works."""

import json
import shutil
import subprocess
import sys

import pytest
from tiny import CORPUS

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.index import ContextualIndex

ROOM = [0, 4 << 10, 24 << 10]


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(mounted)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system of its own")
    yield mounted
    subprocess.run(["umount", "-l", str(mounted)], check=True)


@pytest.fixture
def judged(tmp_path):
    """A BEIR folder that asks for nine documents by their first words."""
    folder = tmp_path / "animals"
    (folder / "qrels").mkdir(parents=True)
    asked = range(0, len(CORPUS), 6)
    documents = [{"_id": f"d{i}", "text": text} for i, text in enumerate(CORPUS)]
    queries = [{"_id": f"q{i}", "text": " ".join(CORPUS[i].split()[:3])} for i in asked]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = "".join(f"q{i}\td{i}\t1\n" for i in asked)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    return folder


def fill(disk, room: int) -> None:
    """Leave room for so many bytes."""
    free = shutil.disk_usage(disk).free
    (disk / "filler").write_bytes(b"x" * (free - room))


def what_is_there(disk) -> list[str]:
    return sorted(path.name for path in disk.iterdir() if path.name != "filler")


def assert_one_error(result) -> str:
    assert result.exit_code == 1, (result.stderr, result.stdout)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.stderr.splitlines()[-1] == line
    return line


@pytest.mark.parametrize("room", [0, 4 << 10])
@pytest.mark.parametrize("command", ["fit", "eval", "report"])
def test_a_full_disk_leaves_nothing_half_written(run, disk, source, judged, model_folder, command, room):
    data = source if command == "fit" else judged
    out = disk / {"fit": "context", "eval": "result.json", "report": "page.html"}[command]
    arguments = [command, data, "--out", out, "--model", model_folder]
    fill(disk, room)
    line = assert_one_error(run(*arguments))
    assert "no space left" in line.lower()
    assert what_is_there(disk) == []
    (disk / "filler").unlink()
    assert run(*arguments).exit_code == 0
    read = {"fit": CorpusContext.load, "eval": lambda path: json.loads(path.read_text())}
    assert read.get(command, lambda path: path.read_text())(out)


@pytest.mark.parametrize("room", ROOM)
def test_an_index_goes_on_once_there_is_room(run, disk, source, model_folder, room):
    arguments = ["index", source, "--out", disk / "index", "--model", model_folder, "--batch-size", 8]
    fill(disk, room)
    assert_one_error(run(*arguments))
    (disk / "filler").unlink()
    assert run(*arguments).exit_code == 0
    assert len(ContextualIndex.open(disk / "index")) == 54


@pytest.mark.parametrize("room", ROOM)
def test_training_goes_on_once_there_is_room(run, disk, biencoder_folder, tmp_path, room):
    rows = [{"query": f"which animal is {i}", "positive": f"the animal {i} sleeps"} for i in range(32)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["train", tmp_path / "pairs.jsonl", "--out", disk / "run", "--model", biencoder_folder]
    arguments += ["--batch-size", 8, "--epochs", 1]
    fill(disk, room)
    assert_one_error(run(*arguments))
    (disk / "filler").unlink()
    assert run(*arguments).exit_code == 0
    ContextualEncoder.from_pretrained(disk / "run" / "model", "cpu", "float32")


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
def test_an_answer_that_cannot_be_written_is_an_error_of_one_line(indexed, options):
    command = [sys.executable, "-m", "cde_retrievers.cli", "check", str(indexed), *options]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr.splitlines() == [
        "error: the answer cannot be written to stdout: No space left on device; the command itself has completed"
    ]
    assert done.returncode == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
def test_help_that_cannot_be_written_is_an_error_of_one_line():
    command = [sys.executable, "-m", "cde_retrievers.cli", "--help"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith("error: ")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
def test_messages_that_cannot_be_written_stop_no_work(source, model_folder, tmp_path):
    command = [sys.executable, "-m", "cde_retrievers.cli", "fit", str(source), "--out", str(tmp_path / "context")]
    command += ["--model", str(model_folder), "--device", "cpu", "--dtype", "float32"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stderr=full, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    assert CorpusContext.load(tmp_path / "context").fingerprint[:12] in done.stdout
