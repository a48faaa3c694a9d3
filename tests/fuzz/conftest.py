"""How much is drawn: the same few thousand cases in every run of the suite, and others without end by `make fuzz`."""

import os
from pathlib import Path

import pytest
from bag_of_words import BagOfWords
from fuzzed import DOCUMENTS
from hypothesis import HealthCheck, settings

from cde_retrievers.index import ContextualIndex

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

settings.register_profile("suite", derandomize=True, database=None, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("long", deadline=None, suppress_health_check=_SLOW, print_blob=True)
settings.load_profile(os.environ.get("CDE_FUZZ_PROFILE", "suite"))


def pytest_collection_modifyitems(items):
    """Strategies of many parts are long to write out; nobody reads them."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:Generating overly large repr"))


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_disks():
    """What is on the device when is tested elsewhere; here it would be most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Directory of an index of `DOCUMENTS` in two segments, with deletions; not to be changed."""
    path = tmp_path_factory.mktemp("fuzz") / "index"
    index = ContextualIndex.build(["a blue whale", *DOCUMENTS[:-4]], BagOfWords(), path)
    index.add(DOCUMENTS[-4:])
    index.delete(["doc-0"])
    return path
