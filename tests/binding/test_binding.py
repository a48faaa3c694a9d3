import numpy as np
import pytest
from tiny import CORPUS, QUERIES

from cde_retrievers.binding.binding import ContextBinding
from cde_retrievers.errors import (
    ConfigurationError,
    ContextFileError,
    ContextInUseError,
    ContextMismatchError,
    ContextNotFittedError,
    InvalidTextError,
)


@pytest.fixture
def encoder(make_encoder):
    return make_encoder("cached")


@pytest.fixture
def binding(encoder):
    return ContextBinding(encoder, "embeddings.fit(documents)")


def test_it_embeds_under_its_context(encoder, binding):
    binding.fit(CORPUS)
    context = encoder.fit_context(CORPUS)
    assert binding.context == context
    np.testing.assert_array_equal(binding.encode_documents(CORPUS), encoder.encode_documents(CORPUS, context))
    np.testing.assert_array_equal(binding.encode_queries(QUERIES), encoder.encode_queries(QUERIES, context))


def test_before_fit_the_error_shows_the_line_to_add(binding):
    assert not binding.is_fitted
    for embed in (binding.encode_documents, binding.encode_queries):
        with pytest.raises(ContextNotFittedError, match=r"add the line\n    embeddings.fit\(documents\)\nor") as caught:
            embed(CORPUS)
        # Some stores take a NotImplementedError for leave to embed documents as queries.
        assert not isinstance(caught.value, NotImplementedError)


def test_fitting_again_before_anything_is_embedded_is_fine(binding):
    binding.fit(CORPUS)
    binding.fit(CORPUS, seed=1)
    assert binding.context.seed == 1


def test_fitting_again_after_something_was_embedded_needs_refit(binding):
    binding.fit(CORPUS)
    binding.encode_documents(CORPUS)
    with pytest.raises(ContextInUseError, match="pass refit=True and embed the whole corpus again"):
        binding.fit(CORPUS, seed=1)
    assert binding.context.seed == 0
    binding.fit(CORPUS, seed=1, refit=True)
    assert binding.context.seed == 1
    binding.fit(CORPUS, seed=2)


def test_the_refusal_comes_before_the_work(binding):
    binding.fit(CORPUS)
    binding.encode_documents(CORPUS)

    def corpus():
        pytest.fail("the corpus was read")
        yield

    with pytest.raises(ContextInUseError):
        binding.fit(corpus())


def test_binding_the_same_context_again_is_fine(encoder, binding):
    binding.fit(CORPUS)
    binding.encode_documents(CORPUS)
    binding.bind(encoder.fit_context(CORPUS))
    with pytest.raises(ContextInUseError):
        binding.bind(encoder.fit_context(QUERIES))


def test_a_failed_fit_leaves_the_context_alone(binding):
    binding.fit(CORPUS)
    with pytest.raises(ConfigurationError, match="unknown"):
        binding.fit(CORPUS, strategy="best")
    assert binding.context.strategy == "random"


def test_load(encoder, binding, tmp_path):
    encoder.fit_context(CORPUS).save(tmp_path / "context")
    binding.load(tmp_path / "context")
    assert binding.context == encoder.fit_context(CORPUS)
    with pytest.raises(ContextFileError):
        binding.load(tmp_path)


def test_only_the_expected_context_is_accepted(encoder):
    expected, other = encoder.fit_context(CORPUS), encoder.fit_context(QUERIES)
    binding = ContextBinding(encoder, "fit", expected_fingerprint=expected.fingerprint)
    with pytest.raises(ContextMismatchError, match=f"{expected.fingerprint} is expected; load the context"):
        binding.bind(other)
    assert not binding.is_fitted
    binding.bind(expected)
    binding.bind(other, refit=True)
    assert binding.context == other


def test_two_bindings_share_one_encoder(encoder):
    first, second = (ContextBinding(encoder, "fit") for _ in range(2))
    first.fit(CORPUS)
    second.fit(QUERIES)
    assert first.context != second.context
    assert np.abs(first.encode_queries(QUERIES) - second.encode_queries(QUERIES)).max() > 1e-3


def test_embedding_nothing_is_no_use(binding):
    binding.fit(CORPUS)
    binding.encode_documents([])
    with pytest.raises(InvalidTextError):
        binding.encode_documents([None])
    binding.fit(CORPUS, seed=1)
    assert binding.context.seed == 1


def test_a_copy_is_refitted_alone(binding):
    binding.fit(CORPUS)
    binding.encode_queries(QUERIES)
    twin = binding.copy()
    with pytest.raises(ContextInUseError):
        twin.fit(CORPUS, seed=1)
    twin.fit(CORPUS, seed=1, refit=True)
    assert (binding.context.seed, twin.context.seed) == (0, 1)
    binding.check_still(binding.context.fingerprint)
    with pytest.raises(ContextMismatchError, match=r"since been refitted to .*; build the index again"):
        twin.check_still(binding.context.fingerprint)


def test_a_context_that_an_index_is_under_is_used_without_the_binding_embedding_anything(binding):
    binding.fit(CORPUS)
    context = binding.context
    assert binding.use(context.fingerprint) == context
    with pytest.raises(ContextInUseError):
        binding.fit(CORPUS[:9])
    binding.fit(CORPUS[:9], refit=True)
    with pytest.raises(ContextMismatchError, match=r"build the index again"):
        binding.use(context.fingerprint)
    binding.fit(CORPUS)  # what was refused used nothing


def test_a_context_cannot_be_replaced_unasked_while_texts_are_embedded_under_it(make_encoder):
    binding = ContextBinding(make_encoder(), "fit")
    binding.fit(CORPUS)

    def texts():
        with pytest.raises(ContextInUseError):
            binding.fit(CORPUS[:20])
        yield CORPUS[0]

    binding.encode_documents(texts())
