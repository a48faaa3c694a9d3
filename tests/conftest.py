"""Fixtures: tiny bi-encoders on disk, and contextual models and encoders made from them."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from tiny import build_tokenizer, tiny_bert, write_biencoder

from cde_retrievers import ContextualEncoder, ContextualModel
from cde_retrievers.encoder.device import resolve_dtype

# What a shell or a CI service sets to change how programs print.
LEFTOVERS = ("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "TRANSFORMERS_VERBOSITY")

# Property tests draw the same few thousand cases in every run of the suite, and others without end by `make fuzz`. They
# may take any time, since the machine may be busy.
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile("suite", derandomize=True, database=None, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("long", deadline=None, suppress_health_check=_SLOW, print_blob=True)
settings.load_profile(os.environ.get("CDE_FUZZ_PROFILE", "suite"))


def pytest_configure():
    """Tests compare what programs print, and start some themselves."""
    for name in LEFTOVERS:
        os.environ.pop(name, None)


def pytest_report_header():
    return f'dtype="auto" on a CPU: {resolve_dtype("auto", torch.device("cpu"))}'


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that none is left for one worker while the other has nothing to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def biencoder_folder(tmp_path_factory) -> Path:
    return write_biencoder(tmp_path_factory.mktemp("models") / "tiny", tiny_bert(), build_tokenizer())


@pytest.fixture(scope="session")
def other_folder(tmp_path_factory) -> Path:
    """The same architecture with other weights."""
    return write_biencoder(tmp_path_factory.mktemp("models") / "other", tiny_bert(seed=1), build_tokenizer())


@pytest.fixture(params=["joint", "cached", "whitening"])
def conditioning(request) -> str:
    return request.param


@pytest.fixture
def make_model(biencoder_folder):
    """A contextual model whose context matters: what `from_biencoder` silences is given random values."""

    def make(conditioning="whitening", **settings) -> ContextualModel:
        model = ContextualModel.from_biencoder(biencoder_folder, conditioning, **settings)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for name, weight in model.second_stage.named_parameters():
                if name.startswith(("gate", "context_projection", "output_projection")):
                    weight.add_(0.5 * torch.randn(weight.shape, generator=generator))
        return model

    return make


@pytest.fixture
def make_encoder(make_model):
    def make(conditioning="whitening", *, device="cpu", dtype="float32", **settings) -> ContextualEncoder:
        settings = {"context_size": 16, **settings}
        return ContextualEncoder(
            make_model(conditioning, **settings), build_tokenizer(), device=device, dtype=dtype, name="tiny"
        )

    return make


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, biencoder_folder) -> Path:
    """A saved contextual encoder, for adapters that load models by path."""
    path = tmp_path_factory.mktemp("models") / "contextual"
    ContextualEncoder.from_biencoder(
        biencoder_folder, "whitening", device="cpu", dtype="float32", context_size=16
    ).save(path)
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The retrieval sets that lie beside a developer's checkout."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data, the retrieval sets beside a developer's checkout")
    return folder
