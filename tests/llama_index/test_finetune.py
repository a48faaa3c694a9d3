"""The fine-tuning engine: its training data, its results, and what it refuses."""

import json
import shutil
import subprocess
import sys

import pytest
from pydantic import BaseModel
from tiny import CORPUS

pytest.importorskip("accelerate")
from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import (
    ConfigurationError,
    ContextNotFittedError,
    MissingDependencyError,
    TrainingDataError,
    TrainingError,
)
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.evaluator import ndcg_at_10
from cde_retrievers.evaluation.searchers import Contextual
from cde_retrievers.llama_index import ContextualFinetuneEngine
from cde_retrievers.training import run as training_run
from cde_retrievers.training.base_model import encoder_to_train
from cde_retrievers.training.config import TrainingConfig
from cde_retrievers.training.data.read import read_pairs
from cde_retrievers.training.run import train

CPU = {"use_cpu": True}


class EmbeddingQAFinetuneDataset(BaseModel):
    """The fields of LlamaIndex's class, which has no home that can be imported with llama-index-core alone."""

    queries: dict[str, str]
    corpus: dict[str, str]
    relevant_docs: dict[str, list[str]]
    mode: str = "text"

    def save_json(self, path):
        path.write_text(json.dumps(self.model_dump(), indent=4))
        return path


def make_dataset(count=40, start=0):
    """Questions that begin as their first document does; each has a second one."""
    corpus = {f"n{i}": text for i, text in enumerate(CORPUS)}
    queries = {f"q{i}": f"{' '.join(CORPUS[i].split()[:3])} {i}" for i in range(start, start + count)}
    answers = {f"q{i}": [f"n{i}", f"n{(i + 1) % len(CORPUS)}"] for i in range(start, start + count)}
    return EmbeddingQAFinetuneDataset(queries=queries, corpus=corpus, relevant_docs=answers)


@pytest.fixture
def trained_on(monkeypatch):
    """The pairs and configuration that the engine trains with, in place of the training."""
    calls = []
    monkeypatch.setattr(training_run, "train", lambda encoder, pairs, config: calls.append((encoder, pairs, config)))
    return calls


def test_it_trains_what_the_library_trains(biencoder_folder, tmp_path, make_nodes):
    engine = ContextualFinetuneEngine(make_dataset(), biencoder_folder, tmp_path / "out", show_progress_bar=False)
    assert engine.finetune(learning_rate=1e-3, **CPU) is None
    model = engine.get_finetuned_model(device="cpu", dtype="float32")

    dataset = make_dataset()
    dataset.relevant_docs = {query: found[:1] for query, found in dataset.relevant_docs.items()}
    config = TrainingConfig(
        output_dir=str(tmp_path / "twin"),
        per_device_train_batch_size=10,
        num_train_epochs=2,
        learning_rate=1e-3,
        disable_tqdm=True,
        **CPU,
    )
    twin = train(encoder_to_train(biencoder_folder, device="cpu"), read_pairs(dataset), config)
    assert model.embedder.fingerprint == twin.encoder.fingerprint
    assert model.embedder.fingerprint == ContextualEncoder.from_pretrained(engine.model_path, "cpu").fingerprint


def test_the_model_has_no_context_before_it_is_fitted_or_given_one(biencoder_folder, tmp_path, make_nodes):
    engine = ContextualFinetuneEngine(make_dataset(), biencoder_folder, tmp_path / "out", show_progress_bar=False)
    engine.finetune(max_steps=1, **CPU)
    model = engine.get_finetuned_model(device="cpu", dtype="float32")
    with pytest.raises(ContextNotFittedError):
        model.get_text_embedding("red cat")
    model.fit(make_nodes()).save_context(tmp_path / "context")
    again = engine.get_finetuned_model(device="cpu", dtype="float32", context_path=tmp_path / "context")
    assert again.get_text_embedding("red cat") == model.get_text_embedding("red cat")


def test_a_path_means_what_is_in_the_file(biencoder_folder, tmp_path, trained_on):
    dataset = make_dataset()
    for given in (dataset, dataset.save_json(tmp_path / "pairs.json"), str(tmp_path / "pairs.json")):
        ContextualFinetuneEngine(given, biencoder_folder, tmp_path / "out").finetune(**CPU)
    (_, pairs, _), *others = trained_on
    assert all([*other] == [*pairs] for _, other, _ in others)


@pytest.mark.parametrize(("use_all_docs", "count"), [(False, 40), (True, 80)])
def test_all_documents_of_a_query_are_trained_on_if_asked_for(
    biencoder_folder, tmp_path, trained_on, use_all_docs, count
):
    engine = ContextualFinetuneEngine(make_dataset(), biencoder_folder, tmp_path / "out", use_all_docs=use_all_docs)
    engine.finetune(**CPU)
    [(_, pairs, _)] = trained_on
    assert len(pairs) == count
    assert [pair.positive for pair in pairs if pair.query.endswith(" 5")] == CORPUS[5 : 7 if use_all_docs else 6]


def test_model_settings_and_training_arguments_reach_their_place(biencoder_folder, tmp_path, trained_on):
    engine = ContextualFinetuneEngine(
        make_dataset(), biencoder_folder, tmp_path / "out", 8, epochs=3, conditioning="joint", max_length=20
    )
    engine.finetune(lora_rank=2, **CPU)
    [(encoder, _, config)] = trained_on
    assert (encoder.config.conditioning.kind, encoder.config.max_length) == ("joint", 20)
    assert (config.per_device_train_batch_size, config.num_train_epochs, config.lora_rank) == (8, 3, 2)
    assert (config.disable_tqdm, config.output_dir) == (False, str(tmp_path / "out"))


def test_the_best_weights_by_the_validation_set_are_kept(biencoder_folder, tmp_path):
    validation = make_dataset(10, start=30)
    engine = ContextualFinetuneEngine(
        make_dataset(), biencoder_folder, tmp_path / "out", 10, validation, epochs=3, show_progress_bar=False
    )
    engine.finetune(learning_rate=2e-2, **CPU)  # so much that every epoch is another model
    log = [json.loads(line) for line in (tmp_path / "out" / "training_log.jsonl").read_text().splitlines()]
    scores = [entry["eval_ndcg@10"] for entry in log if "eval_ndcg@10" in entry]
    assert len(scores) == 3
    assert len(set(scores)) > 1
    kept = ContextualEncoder.from_pretrained(engine.model_path, "cpu", "float32")
    assert ndcg_at_10(Contextual(kept), RetrievalDataset.read(tmp_path / "out" / "validation")) == pytest.approx(
        max(scores)
    )


def test_an_interrupted_run_is_resumed(biencoder_folder, tmp_path):
    def engine(folder):
        return ContextualFinetuneEngine(
            make_dataset(), biencoder_folder, folder, 10, make_dataset(10, start=30), show_progress_bar=False
        )

    engine(tmp_path / "whole").finetune(**CPU)
    engine(tmp_path / "parts").finetune(**CPU)
    for name in ("checkpoint-8", "model"):
        shutil.rmtree(tmp_path / "parts" / name)
    engine(tmp_path / "parts").finetune(resume_from_checkpoint=True, **CPU)
    models = [ContextualEncoder.from_pretrained(tmp_path / name / "model", "cpu") for name in ("whole", "parts")]
    assert models[0].fingerprint == models[1].fingerprint


def test_the_validation_set_is_evaluated_on_as_it_is(biencoder_folder, tmp_path, trained_on):
    validation = make_dataset(3)
    validation.corpus['a "b"\tc'] = "a text with\na line break, and a word of Köln"
    validation.relevant_docs["q0"] = ['a "b"\tc']
    engine = ContextualFinetuneEngine(
        make_dataset(), biencoder_folder, tmp_path / "out", val_dataset=validation, evaluation_steps=4
    )
    engine.finetune(**CPU)
    [(_, _, config)] = trained_on
    assert (config.eval_steps, config.save_steps, config.load_best_model_at_end) == (4, 4, True)
    [folder] = config.evaluation
    found = RetrievalDataset.read(folder)
    assert dict(zip(found.ids, found.texts, strict=True)) == validation.corpus
    assert found.judged.queries == validation.queries
    assert found.judged.relevant == {query: dict.fromkeys(ids, 1) for query, ids in validation.relevant_docs.items()}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluation_steps": 5}, r"evaluation_steps=5 .* val_dataset"),
        ({"evaluation_steps": 0, "val_dataset": make_dataset(3)}, "a number above 0"),
    ],
)
def test_evaluations_of_nothing_are_refused(tmp_path, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        ContextualFinetuneEngine(make_dataset(), "minilm", tmp_path, **settings)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (["red cat"], "dataset must be a data set with queries, corpus, relevant_docs"),
        ("nowhere.json", "does not exist"),
        (make_dataset().model_copy(update={"corpus": {"n0": "a text"}}), "document 'n1' is not in the corpus"),
        (make_dataset().model_copy(update={"relevant_docs": {}}), "query 'q0' must have a list of relevant documents"),
        (make_dataset().model_copy(update={"mode": "images"}), "mode 'images'"),
    ],
)
def test_a_bad_data_set_is_refused_at_once(tmp_path, dataset, message):
    for given in ({"dataset": dataset}, {"dataset": make_dataset(), "val_dataset": dataset}):
        with pytest.raises(TrainingDataError, match=message):
            ContextualFinetuneEngine(**given, model_output_path=tmp_path / "out")


def test_a_file_of_pairs_is_refused(tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"query": "red cat", "positive": "a red cat"}\n')
    with pytest.raises(TrainingDataError, match=r"save it with save_json\(path\) as \.json"):
        ContextualFinetuneEngine(tmp_path / "pairs.jsonl", model_output_path=tmp_path / "out")


def test_what_cannot_be_trained_is_refused_before_a_model_is_loaded(tmp_path):
    engine = ContextualFinetuneEngine(make_dataset(9), tmp_path / "no model", tmp_path / "out")
    with pytest.raises(TrainingDataError, match="a batch takes 10 distinct pairs"):
        engine.finetune(**CPU)
    with pytest.raises(ConfigurationError, match="'learning_rte' is unknown"):
        engine.finetune(learning_rte=1)
    with pytest.raises(ConfigurationError, match="give that instead of output_dir"):
        engine.finetune(output_dir="there")
    with pytest.raises(TrainingError, match=r"call finetune\(\) first"):
        engine.get_finetuned_model()


def test_without_the_packages_for_training_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("cde_retrievers.util.imports.find_spec", lambda package: None)
    with pytest.raises(MissingDependencyError, match=r"fine-tuning needs accelerate: .*'cde-retrievers\[train\]'"):
        ContextualFinetuneEngine(make_dataset())


@pytest.mark.slow
def test_the_adapter_is_imported_without_the_packages_for_training():
    code = (
        "import sys\n"
        "for name in ('accelerate', 'peft', 'datasets', 'matplotlib', 'ir_measures', 'llama_index.finetuning'):\n"
        "    sys.modules[name] = None\n"
        "import cde_retrievers.llama_index\n"
        "print([name for name in sys.modules if name.startswith('cde_retrievers.training')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
