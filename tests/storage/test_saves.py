"""Everything that is saved is on the device before it is relied on, whole after a kill, and refused by a full disk."""

import os
import resource
import shutil
import subprocess
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import pytest
from disk_events import Recorder, killed_at, no_exchange, watched
from runs import PAIRS, small_config
from saves import kinds, read_index, read_refitted
from searched import ANIMALS

from cde_retrievers.errors import CDEError, WriteError
from cde_retrievers.report import report
from cde_retrievers.storage.scratch import is_scratch
from cde_retrievers.training.checkpoints import newest_complete
from cde_retrievers.training.run import train

NAMES = (
    *("context", "encoder", "model", "evaluation", "picture", "checkpoint", "cached arrays"),
    *("question data", "LlamaIndex index", "vector store", "index", "refitted index"),
)
IN_PLACE = ("evaluation", "picture")
DIRECTORIES = [name for name in NAMES if name not in IN_PLACE]


@pytest.fixture(scope="module")
def every_kind(biencoder_folder, tmp_path_factory):
    """Kinds whose versions are made already, so that saving them is all that is left to do."""
    made = kinds(biencoder_folder)
    for name, kind in made.items():
        path = tmp_path_factory.mktemp("first") / f"it{kind.ending}"
        for version in (1, 2):
            kind.save(path, version)
            assert kind.read(path) == version, name
    return made


@pytest.fixture(params=NAMES)
def kind(request, every_kind):
    return every_kind[request.param]


def scratch_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if is_scratch(path)]


def test_everything_is_on_the_device_before_it_is_relied_on(kind, tmp_path):
    path = tmp_path / f"it{kind.ending}" if kind.ending else tmp_path / "new" / "deep" / "it"
    recorder = Recorder(tmp_path)
    with watched(recorder.before):
        for version in (1, 2):
            kind.save(path, version)
            assert recorder.unsafe() == []
    assert recorder.faults == []
    assert scratch_in(tmp_path) == []


@pytest.mark.parametrize("name", DIRECTORIES)
def test_so_it_is_where_nothing_can_be_exchanged(every_kind, tmp_path, name):
    recorder = Recorder(tmp_path)
    with no_exchange(), watched(recorder.before):
        for version in (1, 2):
            every_kind[name].save(tmp_path / "it", version)
            assert recorder.unsafe() == []
    assert recorder.faults == []


def test_a_training_run_brings_its_checkpoints_and_its_model_onto_the_device(make_encoder, tmp_path):
    encoder = make_encoder("cached")
    recorder = Recorder(tmp_path, frozenset({"training_log.jsonl", "learning_curves.png"}))
    with watched(recorder.before):
        config = small_config(tmp_path / "runs" / "first", save_strategy="steps", save_steps=4, save_total_limit=1)
        train(encoder, PAIRS, config)
    assert recorder.faults == []
    assert recorder.unsafe(tmp_path / "runs" / "first" / "model") == []
    newest = newest_complete(tmp_path / "runs" / "first")
    assert recorder.unsafe(newest) == []


def test_a_report_is_on_the_device(make_encoder, tmp_path):
    recorder = Recorder(tmp_path)
    with watched(recorder.before):
        report(make_encoder("whitening"), ANIMALS, tmp_path / "new" / "report.html")
    assert recorder.faults == []
    assert recorder.unsafe() == []


@pytest.mark.slow
@pytest.mark.parametrize("system", [nullcontext, no_exchange], ids=["exchange", "two renames"])
def test_whoever_is_killed_leaves_the_old_or_the_new_one_and_the_next_save_sweeps(kind, tmp_path, system):
    path = Path("it" + kind.ending)
    (tmp_path / "old").mkdir()
    kind.save(tmp_path / "old" / path, 1)
    with system():
        for before in (None, tmp_path / "old"):
            number, goes_on = 0, True
            while goes_on:
                folder = tmp_path / f"{before is not None}-{number}"
                shutil.copytree(before, folder) if before else folder.mkdir()
                version = 2 if before else 1
                goes_on = killed_at(number, partial(kind.save, folder / path, version))
                _check_what_is_left(kind, folder / path, version, goes_on)
                shutil.rmtree(folder)
                number += 1
            assert number > 5  # it was killed


def _check_what_is_left(kind, path, version, was_killed):
    found = _version_at(kind, path)
    assert found in ((version - 1, version) if was_killed else (version,))
    if not (
        kind.read in (read_index, read_refitted) and found == version == 1
    ):  # a build that was finished cannot be asked for again
        kind.save(path, version)
    assert kind.read(path) == version
    assert scratch_in(path.parent) == []


def _version_at(kind, path):
    """0 if there is none."""
    try:
        return kind.read(path)
    except (OSError, CDEError):
        return 0


@contextmanager
def limited_files(size: int):
    """No file may be longer, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "checkpoint"])
def test_a_disk_that_takes_no_more_is_named_and_leaves_the_old_one(every_kind, tmp_path, name):
    kind = every_kind[name]
    path = tmp_path / f"it{kind.ending}"
    kind.save(path, 1)
    refusals = []
    for size in (0, 20, 200, 2000):
        try:
            with limited_files(size):
                kind.save(path, 2)
        except WriteError as error:
            refusals.append(str(error))
            assert kind.read(path) == 1
            assert scratch_in(tmp_path) == []
    assert refusals
    assert all("files may not be that large there" in refusal for refusal in refusals)
    kind.save(path, 2)
    assert kind.read(path) == 2


@contextmanager
def mounted(folder: Path, *options: str):
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs to mount a file system: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


needs_root = pytest.mark.skipif(
    not shutil.which("mkfs.ext4") or os.geteuid() != 0, reason="needs to mount a file system, as root with mkfs.ext4"
)


@needs_root
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "checkpoint"])
def test_a_full_disk_is_named_and_leaves_the_old_one(every_kind, tmp_path, name):
    kind = every_kind[name]
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=16m", "tmpfs") as disk:
        path = disk / f"it{kind.ending}"
        kind.save(path, 1)
        free = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(bytes(free))
        with pytest.raises(WriteError, match="no space left on the device; free some"):
            kind.save(path, 2)
        assert kind.read(path) == 1
        (disk / "filler").unlink()
        kind.save(path, 2)
        assert kind.read(path) == 2


@needs_root
@pytest.mark.slow
def test_what_was_saved_is_there_after_a_power_cut(kind, tmp_path):
    """The image of a mounted file system, copied at that moment, is what a power cut leaves of it."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(48 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        path = Path("it" + kind.ending) if kind.ending else Path("new", "it")
        for version in (1, 2):
            kind.save(disk / path, version)
            shutil.copyfile(image, tmp_path / "cut")
            with mounted(tmp_path / "later", "-o", "loop", str(tmp_path / "cut")) as later:
                assert kind.read(later / path) == version
