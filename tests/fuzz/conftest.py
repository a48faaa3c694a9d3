"""What property tests have in common."""

import os
from pathlib import Path

import pytest
from bag_of_words import BagOfWords
from fuzzed import DOCUMENTS

from cde_retrievers.index import ContextualIndex


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
