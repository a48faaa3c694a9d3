"""The bar moves while one commit's documents are embedded, and the vectors are those of one call."""

from types import SimpleNamespace

import numpy as np
from tiny import CORPUS

from cde_retrievers.index import Document, build
from cde_retrievers.index.vector_format import VectorFormat


def test_the_bar_moves_before_a_commit_is_done(make_encoder, monkeypatch):
    monkeypatch.setattr(build, "_AT_A_TIME", 20)
    encoder = make_encoder()
    context = encoder.fit_context(CORPUS)
    moves: list[int] = []
    documents, bar = [Document(text) for text in CORPUS], SimpleNamespace(update=moves.append)
    vectors = build.embedded(encoder, documents, context, VectorFormat(encoder.width, encoder.width), bar)
    assert moves == [20, 20, 14]
    np.testing.assert_allclose(vectors, encoder.encode_documents(CORPUS, context), atol=1e-6)
