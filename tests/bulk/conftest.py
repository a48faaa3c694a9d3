"""Fixtures: a small encoder, its context, and plans of numbered sentences."""

import pytest

from cde_retrievers.bulk.planning import plan
from cde_retrievers.retrieval.document import Document

ROWS = [
    Document(f"the {colour} {animal} eats file {number}", f"row-{number}", {"number": number, "by": {"name": "Zoë\n"}})
    for number, (colour, animal) in enumerate(
        (colour, animal) for colour in ("red", "green", "old") for animal in ("cat", "dog", "bird", "tree")
    )
]


@pytest.fixture(scope="session")
def encoder(model_folder):
    from cde_retrievers import ContextualEncoder

    return ContextualEncoder.from_pretrained(model_folder, "cpu", "float32")


@pytest.fixture(scope="session")
def context(encoder):
    return encoder.fit_context([row.text for row in ROWS], show_progress=False)


@pytest.fixture
def make_plan(model_folder, context, tmp_path):
    def make(rows=ROWS, rows_per_shard=5, out="plan", **options):
        options = {"device": "cpu", "dtype": "float32", **options}
        return plan(rows, model_folder, context, tmp_path / out, rows_per_shard, **options)

    return make
