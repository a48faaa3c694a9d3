"""nDCG@10 during training, on corpora under their own contexts."""

import json

import numpy as np
import pytest
from runs import PAIRS, STEPS_PER_EPOCH, same_weights, small_config, write_beir
from tiny import CORPUS

from cde_retrievers.errors import CorpusFileError, EvaluationDataError, MissingDependencyError
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.evaluator import ndcg_at_10
from cde_retrievers.evaluation.searchers import Contextual
from cde_retrievers.training.checkpoints import checkpoints_in
from cde_retrievers.training.run import train
from cde_retrievers.training.trainer import ndcg_by_set
from cde_retrievers.util import imports as optional


@pytest.fixture
def beir(tmp_path):
    documents = {f"d{place}": text for place, text in enumerate(CORPUS)}
    judged = [(pair.query, f"d{CORPUS.index(pair.positive)}") for pair in list(PAIRS)[::4]]
    return write_beir(tmp_path / "animals", documents, judged)


def test_the_figure_is_that_of_sorting_all_documents(beir, make_encoder):
    found = RetrievalDataset.read(beir)
    encoder = make_encoder("cached")
    context = encoder.fit_context(CORPUS)
    scores = (
        encoder.encode_queries(list(found.judged.queries.values()), context)
        @ encoder.encode_documents(CORPUS, context).T
    )
    gains = []
    for row, query in zip(scores, found.judged.queries, strict=True):
        answer = next(iter(found.judged.relevant[query]))
        rank = list(np.argsort(-row, kind="stable")).index(int(answer[1:]))
        gains.append(1 / np.log2(rank + 2) if rank < 10 else 0.0)
    assert ndcg_at_10(Contextual(encoder), found) == pytest.approx(np.mean(gains), abs=1e-6)
    assert 0 < np.mean(gains) < 1


def test_ids_may_be_whole_numbers(make_encoder, tmp_path):
    judged = [("red cat", "0"), ("a tree", "1")]
    texts = write_beir(tmp_path / "texts", {"0": "red cat", "1": "a tree", "2": "the file"}, judged)
    numbers = write_beir(tmp_path / "numbers", {"0": "red cat", "1": "a tree", "2": "the file"}, judged)
    for name in ("corpus.jsonl", "queries.jsonl"):
        rows = [json.loads(line) for line in (numbers / name).read_text().splitlines()]
        rows = [{**row, "_id": int(row["_id"].removeprefix("q"))} for row in rows]
        (numbers / name).write_text("\n".join(map(json.dumps, rows)))
    judgements = numbers / "qrels" / "test.tsv"
    judgements.write_text(judgements.read_text().replace("q0", "0").replace("q1", "1"))
    found = RetrievalDataset.read(numbers)
    assert found.ids == ("0", "1", "2")
    assert list(found.judged.queries) == ["0", "1"]
    encoder = make_encoder("whitening")
    assert ndcg_at_10(Contextual(encoder), found) == ndcg_at_10(Contextual(encoder), RetrievalDataset.read(texts))


def test_several_sets_are_named_and_averaged(beir, tmp_path, make_encoder):
    other = write_beir(tmp_path / "other", {"a": "red cat", "b": "a tree", "c": "the file"}, [("red cat", "a")])
    sets = [RetrievalDataset.read(folder) for folder in (beir, other)]
    encoder = make_encoder("cached")
    figures = ndcg_by_set(encoder, sets)
    each = [figures["animals_ndcg@10"], figures["other_ndcg@10"]]
    assert each == [ndcg_at_10(Contextual(encoder), found) for found in sets]
    assert figures["ndcg@10"] == pytest.approx(np.mean(each))
    assert list(ndcg_by_set(encoder, sets[:1])) == ["ndcg@10"]


def test_a_run_evaluates_and_ends_with_its_best_weights(beir, make_encoder, tmp_path):
    config = small_config(
        tmp_path / "run",
        num_train_epochs=3,
        learning_rate=3e-2,
        evaluation=(str(beir),),
        save_strategy="epoch",
        load_best_model_at_end=True,
        save_total_limit=1,
        eval_on_start=True,
    )
    result = train(make_encoder("cached"), PAIRS, config)
    figures = {entry["step"]: entry["eval_ndcg@10"] for entry in result.log_history if "eval_ndcg@10" in entry}
    assert sorted(figures) == [0, STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH, 3 * STEPS_PER_EPOCH]
    kept = {step: figure for step, figure in figures.items() if step > 0}
    best = max(kept, key=kept.__getitem__)
    assert len(set(kept.values())) > 1
    assert kept[best] != figures[3 * STEPS_PER_EPOCH]
    assert ndcg_at_10(Contextual(result.encoder), RetrievalDataset.read(beir)) == pytest.approx(kept[best])
    assert result.metrics["eval_ndcg@10"] == kept[best]
    names = [path.name for path in checkpoints_in(tmp_path / "run")]
    assert f"checkpoint-{best}" in names
    assert len(names) <= 2


def test_evaluating_changes_no_weight(beir, make_encoder, tmp_path):
    without = train(make_encoder("cached"), PAIRS, small_config(tmp_path / "without", num_train_epochs=1))
    looked = small_config(
        tmp_path / "with", num_train_epochs=1, evaluation=(str(beir),), eval_strategy="steps", eval_steps=1
    )
    assert same_weights(without.encoder, train(make_encoder("cached"), PAIRS, looked).encoder)


def test_a_folder_that_cannot_be_searched_is_refused(tmp_path, beir):
    alone = write_beir(tmp_path / "alone", {"a": "red cat"}, [("red", "a")])
    with pytest.raises(EvaluationDataError, match=r"fewer than two different documents"):
        RetrievalDataset.read(alone)
    with pytest.raises(CorpusFileError, match=r"no judgements qrels/dev.tsv"):
        RetrievalDataset.read(beir, "dev")


def test_missing_ir_measures_is_named_with_its_extra(beir, tmp_path, monkeypatch):
    config = small_config(tmp_path / "run", evaluation=(str(beir),))
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"ir_measures: pip install 'cde-retrievers\[eval\]'"):
        train(tmp_path / "no model is read", PAIRS, config)
