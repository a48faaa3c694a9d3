"""Settings of any kind: taken, or refused by an error of ours."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from bag_of_words import BagOfWords
from fuzzed import cases, only_our_errors
from hostile import anything
from hypothesis import given
from hypothesis import strategies as st
from tiny import CORPUS

from cde_retrievers import ContextualConfig, CorpusContext, drift
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.known_item_queries import known_items
from cde_retrievers.external.embedder import WhitenedEmbedder
from cde_retrievers.external.retries import RetryPolicy
from cde_retrievers.model.config import WhiteningConditioning
from cde_retrievers.retrieval.judgements import JudgedQueries
from cde_retrievers.training import Pair, TrainingConfig, TrainingPairs, pairs_from_corpus, read_pairs

LONG = [
    f"{text} while it rains. And then there was {i} more of it, far from here, and so on."
    for i, text in enumerate(CORPUS)
]
FITTED = BagOfWords().fit_context(CORPUS, size=4)
CONTEXT = {
    "vectors": FITTED.vectors,
    "model_name": "bag-of-words",
    "model_fingerprint": FITTED.model_fingerprint,
    "documents": list(FITTED.documents),
    "positions": list(FITTED.positions),
    "distinct": 4,
    "corpus_size": 54,
    "strategy": "random",
    "seed": 0,
    "probe": None,
}
KINDS = {
    "context": (CorpusContext, CONTEXT),
    "retry policy": (RetryPolicy, {"batch_size": 2, "retries": 1, "wait": 0.5}),
    "whitened": (
        WhitenedEmbedder,
        {"name": "base", "embed_documents": len, "embed_query": None, "power": 0.5, "shrinkage": 0.1, "keep_mib": 3},
    ),
    "whitening": (WhiteningConditioning, {"power": 0.5, "shrinkage": 0.1}),
    "judged": (JudgedQueries, {"queries": {"q": "red cat"}, "relevant": {"q": {"d": 1}}}),
    "dataset": (
        RetrievalDataset.of,
        {"queries": {"q": "red cat"}, "corpus": {"d": "a", "e": "b"}, "relevant_docs": {"q": ["d"]}, "name": "n"},
    ),
    "known items": (known_items, {"documents": LONG, "name": "n", "max_queries": 3, "seed": 0}),
    "drift": (
        drift.measure,
        {
            "reference": BagOfWords().fit_context(CORPUS, size=30),
            "new_texts": LONG,
            "embedder": BagOfWords(),
            "sample": 30,
            "seed": 0,
        },
    ),
    "pairs": (read_pairs, {"source": [{"query": "a", "positive": "b"}], "split": "train", "domain": None}),
    "pairs of a corpus": (pairs_from_corpus, {"documents": LONG}),
    "training pairs": (TrainingPairs.of, {"pairs": [Pair("a", "b")]}),
}


@st.composite
def with_hostile_parts(draw, right):
    """The arguments with one or two hostile ones in their place, or in a place within them."""
    given_arguments = dict(right)
    for name in draw(st.sets(st.sampled_from(sorted(right)), min_size=1, max_size=2)):
        value = right[name]
        if isinstance(value, dict) and value and draw(st.booleans()):
            key = draw(st.sampled_from(sorted(value)))
            given_arguments[name] = {**value, draw(st.just(key) | anything.filter(is_hashable)): draw(anything)}
        elif isinstance(value, list) and value and draw(st.booleans()):
            given_arguments[name] = [draw(anything), *value[1:]]
        else:
            given_arguments[name] = draw(anything)
    return given_arguments


def is_hashable(value):
    try:
        hash(value)
    except (TypeError, RecursionError):
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
@cases(50)
@given(data=st.data())
def test_hostile_settings(kind, data):
    make, right = KINDS[kind]
    drawn = data.draw(with_hostile_parts(right))
    with only_our_errors():
        make(**drawn)


def test_right_settings_are_taken():
    for make, right in KINDS.values():
        make(**right)


@cases(50)
@given(
    vectors=st.integers(1, 3).flatmap(
        lambda n: st.lists(st.lists(st.floats(-9, 9), min_size=2, max_size=2), min_size=n, max_size=n)
    ),
    name=st.text(st.characters(codec="utf-8"), max_size=4),
    strategy=st.text(st.characters(codec="utf-8"), max_size=4),
    seed=st.integers(-(2**63), 2**63 - 1),
    probe=st.none() | st.just([0.6, 0.8]),
)
def test_a_context_comes_back_as_it_was(vectors, name, strategy, seed, probe):
    context = CorpusContext(
        vectors=np.array(vectors, dtype=np.float32),
        model_name=name,
        model_fingerprint="f",
        documents=[f"{i}" for i in range(len(vectors))],
        positions=list(range(len(vectors))),
        distinct=len(vectors),
        corpus_size=len(vectors),
        strategy=strategy,
        seed=seed,
        probe=None if probe is None else np.array(probe, dtype=np.float32),
    )
    with tempfile.TemporaryDirectory() as folder:
        context.save(Path(folder) / "context")
        again = CorpusContext.load(Path(folder) / "context")
    assert again == context
    assert repr(again) == repr(context)
    np.testing.assert_array_equal(again.vectors, context.vectors)


TRAINING = sorted(name for name, field in TrainingConfig.__dataclass_fields__.items() if field.init)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of settings that transformers gives other names
@cases(200)
@given(
    chosen=st.dictionaries(st.sampled_from(TRAINING), anything, min_size=1, max_size=2),
)
def test_training_settings(chosen, tmp_path, monkeypatch):
    pytest.importorskip("accelerate")
    monkeypatch.chdir(tmp_path)
    with only_our_errors():
        TrainingConfig.from_dict({"output_dir": "out", **chosen})


@cases(50)
@given(settings=anything)
def test_what_are_no_training_settings(settings):
    pytest.importorskip("accelerate")
    with only_our_errors():
        TrainingConfig.from_dict(settings)


MODEL = {"conditioning": {"kind": "whitening"}, "backbone": {"model_type": "bert"}, "max_length": 32}


@cases(75)
@given(drawn=with_hostile_parts(MODEL))
def test_settings_of_a_model(drawn, monkeypatch):
    # pydantic cannot show some kinds that it does not know, and says so on the way.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    with only_our_errors():
        ContextualConfig(**drawn)
