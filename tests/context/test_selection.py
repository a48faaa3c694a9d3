import random
import tracemalloc
from itertools import repeat

import faiss
import numpy as np
import pytest

from cde_retrievers.context.selection import STRATEGIES, draw_candidates, select_documents
from cde_retrievers.errors import ConfigurationError, ContextTooSmallError, InvalidTextError

TEXTS = [f"document number {i}" for i in range(500)]


def embed(texts):
    """Noisy clusters in eight dimensions, by the number in the text; not normalised."""
    numbers = [int(text.split()[-1]) for text in texts]
    centres = np.random.default_rng(0).normal(size=(10, 8))
    noise = [np.random.default_rng(number).normal(size=8) for number in numbers]
    return (centres[np.sqrt(numbers).astype(int) % 10] + 0.1 * np.array(noise)).astype(np.float32)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(params=sorted(STRATEGIES))
def strategy(request):
    return request.param


def test_same_seed_same_documents_whatever_the_order_of_the_corpus(strategy):
    shuffled = random.Random(1).sample(TEXTS, len(TEXTS))
    first, again, reordered = (select_documents(t, 20, strategy, 0, embed) for t in (TEXTS, TEXTS, shuffled))
    assert first.texts == again.texts == reordered.texts
    assert [TEXTS[i] for i in first.positions] == first.texts
    assert [shuffled[i] for i in reordered.positions] == reordered.texts
    assert select_documents(TEXTS, 20, strategy, 1, embed).texts != first.texts


def test_vectors_belong_to_the_texts(strategy):
    chosen = select_documents(TEXTS, 20, strategy, 0, embed)
    np.testing.assert_array_equal(chosen.vectors, embed(chosen.texts))
    assert (chosen.distinct, chosen.seen, len(set(chosen.texts))) == (20, 500, 20)


def test_repeated_documents_count_once(strategy):
    chosen = select_documents(["a 1", "b 2", "a 1", "a 1", "b 2", "c 300"], 3, strategy, 0, embed)
    assert sorted(chosen.texts) == ["a 1", "b 2", "c 300"]
    assert sorted(chosen.positions) == [0, 1, 5]
    assert chosen.seen == 6


def test_too_few_documents_are_repeated_in_turn(strategy):
    chosen = select_documents(["a 1", "b 2", "c 300"], 8, strategy, 0, embed)
    assert len(chosen.texts) == len(chosen.vectors) == 8
    assert chosen.distinct == 3
    assert chosen.texts == (chosen.texts[:3] * 3)[:8]


@pytest.mark.parametrize("texts", [[], ["only 1"], ["same 1"] * 9])
def test_fewer_than_two_distinct_documents_are_refused(texts, strategy):
    found = f"at least 2 distinct documents, found {min(len(texts), 1)} among .*--split headings"
    with pytest.raises(ContextTooSmallError, match=found):
        select_documents(texts, 4, strategy, 0, embed)


def test_random_is_uniform_over_distinct_documents():
    corpus = ["common"] * 900 + [f"rare {i}" for i in range(9)]
    drawn = [draw_candidates(corpus, 2, seed).texts for seed in range(2_000)]
    share = sum("common" in texts for texts in drawn) / len(drawn)
    assert abs(share - 2 / 10) < 0.03


def test_kmeans_takes_the_document_nearest_each_centroid_the_large_clusters_first():
    pool = draw_candidates(TEXTS, 80, 0).texts
    vectors = unit(embed(pool))
    kmeans = faiss.Kmeans(8, 10, niter=20, seed=0, min_points_per_centroid=1, max_points_per_centroid=80)
    kmeans.train(vectors)
    members = [[] for _ in range(10)]
    for i, vector in enumerate(vectors):
        gaps = np.linalg.norm(kmeans.centroids - vector, axis=1)
        members[int(gaps.argmin())].append((gaps.min(), pool[i]))
    expected = [min(cluster)[1] for cluster in sorted(members, key=len, reverse=True)]
    chosen = select_documents(TEXTS, 10, "kmeans", 0, embed).texts
    assert set(chosen) == set(expected)
    sizes = {min(cluster)[1]: len(cluster) for cluster in members}
    assert [sizes[text] for text in chosen] == sorted(sizes.values(), reverse=True)


def test_diverse_equals_the_slow_farthest_first_walk():
    pool = draw_candidates(TEXTS, 80, 0).texts
    vectors = unit(embed(pool))
    chosen = [0]
    while len(chosen) < 10:
        gaps = [min(np.linalg.norm(vectors[i] - vectors[j]) for j in chosen) for i in range(len(pool))]
        chosen.append(int(np.argmax(gaps)))
    assert select_documents(TEXTS, 10, "diverse", 0, embed).texts == [pool[i] for i in chosen]


def test_documents_with_the_same_vector_are_still_different_documents(strategy):
    chosen = select_documents(TEXTS, 20, strategy, 0, lambda texts: np.ones((len(texts), 8), dtype=np.float32))
    assert len(set(chosen.texts)) == 20


def test_one_pass_over_a_generator_in_bounded_memory():
    count = 50_000
    stream = (f"{i} " + "x" * 1_000 for i in range(count))
    tracemalloc.start()
    candidates = draw_candidates(stream, 16, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert candidates.seen == count
    assert peak < 1_000_000, "50 MB of texts went by"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "best"}, r"strategy 'best' is unknown; use one of \['diverse', 'kmeans', 'random'\]"),
        ({"size": 1}, "size must be a whole number of at least 2, found 1"),
        ({"size": 2.5}, "size must be a whole number"),
        ({"size": True}, "size must be a whole number"),
        ({"seed": "0"}, "seed must be a whole number, found '0'"),
    ],
)
def test_impossible_options_are_refused_before_the_corpus_is_read(change, message):
    options = {"texts": repeat("endless"), "size": 4, "strategy": "random", "seed": 0, "embed": embed, **change}
    with pytest.raises(ConfigurationError, match=message):
        select_documents(**options)


def test_a_bad_text_in_the_corpus_is_named():
    with pytest.raises(InvalidTextError, match="text 2 must be a string, found NoneType"):
        select_documents(["a 1", "b 2", None], 2, "random", 0, embed)


def test_a_negative_seed_works(strategy):
    assert select_documents(TEXTS, 5, strategy, -3, embed).distinct == 5
