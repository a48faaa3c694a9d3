"""Arrays on disk: made once, checked whenever they are read."""

import errno
import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from cde_retrievers.errors import PathInUseError, WriteError
from cde_retrievers.training.array_cache import MANIFEST, cached_arrays, write_rows

MADE_FROM = {"texts": "abc", "seed": 0}
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def write(folder):
    np.save(folder / "rows.npy", ROWS)


def never(folder):
    raise AssertionError("what is kept was made again")


def entry_of(folder):
    (entry,) = [path for path in folder.iterdir() if path.is_dir()]
    return entry


def test_what_was_made_once_is_mapped_the_second_time(tmp_path):
    first = cached_arrays(tmp_path / "new", "rows", MADE_FROM, write)
    second = cached_arrays(tmp_path / "new", "rows", MADE_FROM, never)
    for arrays in (first, second):
        assert isinstance(arrays["rows"], np.memmap)
        np.testing.assert_array_equal(arrays["rows"], ROWS)
        with pytest.raises(ValueError, match="read-only"):
            arrays["rows"][0, 0] = 1


def test_other_ingredients_make_another_entry(tmp_path):
    cached_arrays(tmp_path, "rows", MADE_FROM, write)
    with pytest.raises(AssertionError, match="made again"):
        cached_arrays(tmp_path, "rows", {**MADE_FROM, "seed": 1}, never)


@pytest.mark.parametrize("damage", ["changed", "cut", "lost", "manifest", "ingredients"])
def test_a_damaged_entry_is_noticed_and_made_again(tmp_path, damage, caplog):
    cached_arrays(tmp_path, "rows", MADE_FROM, write)
    path, manifest = entry_of(tmp_path) / "rows.npy", entry_of(tmp_path) / MANIFEST
    content = path.read_bytes()
    match damage:
        case "changed":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "cut":
            path.write_bytes(content[:-4])
        case "lost":
            path.unlink()
        case "manifest":
            manifest.write_text("{")
        case "ingredients":
            manifest.write_text(manifest.read_text().replace("abc", "abd"))
    with caplog.at_level(logging.WARNING):
        found = cached_arrays(tmp_path, "rows", MADE_FROM, write)
    np.testing.assert_array_equal(found["rows"], ROWS)
    assert "is damaged and is computed again" in caplog.text
    cached_arrays(tmp_path, "rows", MADE_FROM, never)


def test_somebody_elses_directory_is_left_alone(tmp_path):
    cached_arrays(tmp_path, "rows", MADE_FROM, write)
    entry = entry_of(tmp_path)
    (entry / MANIFEST).unlink()
    (entry / "rows.npy").rename(entry / "diary.txt")
    with pytest.raises(PathInUseError, match=r"already holds other files"):
        cached_arrays(tmp_path, "rows", MADE_FROM, write)
    assert (entry / "diary.txt").exists()


def test_nothing_half_written_stays_when_the_disk_is_full(tmp_path):
    def fail(folder):
        write(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WriteError, match=r"there is no space left on the device"):
        cached_arrays(tmp_path, "rows", MADE_FROM, fail)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_who_asks_at_the_same_time_waits_for_the_one_that_makes_it(tmp_path):
    made, started, go_on = [], Event(), Event()

    def slow(folder):
        started.set()
        assert go_on.wait(600)
        made.append(1)
        write(folder)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cached_arrays, tmp_path, "rows", MADE_FROM, slow)
        assert started.wait(600)
        second = threads.submit(cached_arrays, tmp_path, "rows", MADE_FROM, slow)
        go_on.set()
        np.testing.assert_array_equal(first.result()["rows"], second.result()["rows"])
    assert made == [1]


def test_rows_written_in_blocks_are_one_array(tmp_path):
    write_rows(tmp_path / "rows.npy", ROWS.shape, [ROWS[:3], ROWS[3:]])
    found = np.load(tmp_path / "rows.npy", allow_pickle=False)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, ROWS)
