"""Several contexts over one loaded model."""

from concurrent.futures import ThreadPoolExecutor

from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from tiny import CORPUS


def test_a_view_shares_the_model_and_has_a_context_of_its_own(make_embedding):
    embed_model, other = make_embedding().fit(CORPUS), make_embedding().fit(CORPUS[:9])
    before = embed_model.get_text_embedding("red cat")
    view = embed_model.with_context(other.context)
    assert view._binding.encoder is embed_model._binding.encoder
    assert view.context_fingerprint == other.context_fingerprint == view.context.fingerprint
    assert view.get_text_embedding("red cat") == other.get_text_embedding("red cat")
    assert embed_model.get_text_embedding("red cat") == before
    assert embed_model.context_fingerprint != view.context_fingerprint


def test_a_view_names_no_path_that_holds_another_context(make_embedding, tmp_path):
    embed_model = make_embedding().fit(CORPUS)
    embed_model.save_context(tmp_path / "context")
    view = embed_model.with_context(make_embedding().fit(CORPUS[:9]).context)
    assert view.context_path is None
    assert embed_model.context_path == str(tmp_path / "context")


def test_a_view_keeps_the_callbacks(make_embedding):
    counter = TokenCountingHandler(tokenizer=str.split)
    embed_model = make_embedding(callback_manager=CallbackManager([counter])).fit(CORPUS)
    view = embed_model.with_context(make_embedding().fit(CORPUS[:9]).context)
    assert view.callback_manager is embed_model.callback_manager
    view.get_text_embedding("red cat")
    assert counter.total_embedding_token_count == 2


def test_views_are_used_from_several_threads_at_once(make_embedding):
    embed_model = make_embedding().fit(CORPUS)
    contexts = [make_embedding().fit(CORPUS[start : start + 9]).context for start in range(0, 54, 18)]
    views = [embed_model, *(embed_model.with_context(context) for context in contexts)]
    alone = [(view.get_text_embedding("red cat"), view.get_query_embedding("a dog")) for view in views]

    def embedded(number):
        view = views[number % len(views)]
        return view.get_text_embedding("red cat"), view.get_query_embedding("a dog")

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(embedded, range(40)))
    assert together == [alone[number % len(views)] for number in range(40)]
