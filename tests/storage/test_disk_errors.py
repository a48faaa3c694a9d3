"""A disk's refusals become WriteErrors, whoever's exception they come in; other errors stay what they are."""

import errno

import faiss
import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny import build_tokenizer

from cde_retrievers.errors import PathInUseError, WriteError
from cde_retrievers.storage.disk_errors import disk_errors_explained

resource = pytest.importorskip("resource", reason="limits the size of files")


def write_faiss(path):
    index = faiss.IndexFlatIP(8)
    index.add(np.zeros((10_000, 8), dtype=np.float32))
    faiss.write_index(index, str(path))


WRITERS = {
    "safetensors": lambda path: save_file({"a": np.zeros(1000)}, path),
    "tokenizers": lambda path: build_tokenizer().save(str(path)),
    "faiss": write_faiss,
    "python": lambda path: path.write_bytes(bytes(5000)),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_writers_error_is_explained(tmp_path, writer):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with (
            pytest.raises(WriteError, match=r"cannot write to .*it: files may not be that large.*; all is well"),
            disk_errors_explained(tmp_path / "it", "all is well"),
        ):
            WRITERS[writer](tmp_path / "it")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("the service answered: Permission denied"),
        RuntimeError("Error in faiss::FileIOReader: could not open it for reading: Permission denied"),
        Exception("No space left on device"),
        Exception("(os error 2)"),
        ValueError("(os error 28)"),
        OSError(errno.EIO, "Input/output error"),  # of a document that is read, perhaps
        OSError("no number"),
        PermissionError(errno.EACCES, "Permission denied", "/elsewhere/secret.txt"),
        PathInUseError("in use"),
        WriteError("explained by others"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_other_errors_pass_as_they_are(tmp_path, error):
    with pytest.raises(type(error)) as caught, disk_errors_explained(tmp_path / "it", "all is well"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("first", "second"), [("it/a", None), ("/elsewhere", "it/a"), ("it", None), (".", None), (".cde-{}/new", None)]
)
def test_what_names_the_path_its_scratch_or_what_is_above_is_about_it(tmp_path, first, second):
    first = tmp_path / first.format(f"{16 * 'f'}-{8 * 'z'}")
    second = second and str(tmp_path / second)
    with (
        pytest.raises(WriteError, match="the device reported an error; check its health"),
        disk_errors_explained(tmp_path / "it", "all is well"),
    ):
        raise OSError(errno.EIO, "Input/output error", str(first), None, second)


def test_the_outermost_says_what_is_still_true(tmp_path):
    with (
        pytest.raises(WriteError, match=r"no space left.*; the index is served") as caught,
        disk_errors_explained(tmp_path / "it", "the index is served"),
        disk_errors_explained(tmp_path / "it" / "part", "the part is lost"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert isinstance(caught.value.__cause__, OSError)
    assert "the part" not in str(caught.value)
