"""Modules over tiny encoders that have prompts."""

import pytest
from tiny import CORPUS


@pytest.fixture
def make_module(make_encoder):
    pytest.importorskip("sentence_transformers", reason="needs the package of the `st` extra")
    from cde_retrievers.st import ContextualModule

    def make(conditioning="whitening", **settings) -> ContextualModule:
        encoder = make_encoder(conditioning, **{"query_prompt": "walk: ", "document_prompt": "read: ", **settings})
        return ContextualModule(encoder, encoder.fit_context(CORPUS))

    return make


@pytest.fixture
def module(make_module):
    return make_module()
