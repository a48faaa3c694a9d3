import logging
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import tqdm.auto
from tiny import CORPUS, QUERIES, build_tokenizer
from torch.nn.functional import normalize

from cde_retrievers import ContextualEncoder, CorpusContext
from cde_retrievers.encoder import batching as batches
from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.errors import (
    CheckpointError,
    ConfigurationError,
    ContextMismatchError,
    ContextTooSmallError,
    DeviceError,
    DeviceMemoryError,
    InvalidTextError,
    PathInUseError,
)

TEXTS = [*CORPUS, *QUERIES, "", "a " * 100]


def one_by_one(encoder, texts, prompt, context):
    """The slow twin: every text alone through the model's public forward."""
    tokenizer = TextTokenizer(build_tokenizer(), encoder.config.max_length, 0)
    vectors = torch.from_numpy(context.vectors.copy())
    rows = []
    for text in texts:
        ids, mask = tokenizer.pad(tokenizer.encode([prompt + text]))
        with torch.no_grad():
            rows.append(normalize(encoder.model.second_stage(ids, mask, vectors), dim=-1)[0].numpy())
    return np.stack(rows)


def test_batches_equal_texts_one_by_one_in_input_order(conditioning, make_encoder):
    encoder = make_encoder(conditioning, query_prompt="walk: ", document_prompt="read: ")
    context = encoder.fit_context(CORPUS)
    for encode, prompt in ((encoder.encode_documents, "read: "), (encoder.encode_queries, "walk: ")):
        np.testing.assert_allclose(encode(TEXTS, context), one_by_one(encoder, TEXTS, prompt, context), atol=1e-5)


def test_embeddings_are_float32_unit_rows(conditioning, make_encoder):
    encoder = make_encoder(conditioning)
    rows = encoder.encode_documents(TEXTS, encoder.fit_context(CORPUS))
    assert rows.dtype == np.float32
    assert rows.shape == (len(TEXTS), 32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_rows(make_encoder):
    encoder = make_encoder()
    context = encoder.fit_context(CORPUS)
    assert encoder.encode_documents([], context).shape == (0, 32)
    assert encoder.encode_queries(iter(()), context).shape == (0, 32)


def test_windows_and_batches_do_not_show(monkeypatch, make_encoder):
    model = make_encoder("cached")
    context = model.fit_context(CORPUS)
    whole = model.encode_documents(TEXTS, context)
    monkeypatch.setattr(batches, "_WINDOW_TEXTS", 7)
    monkeypatch.setattr(batches, "default_token_budget", lambda device: 20)
    np.testing.assert_allclose(model.encode_documents(iter(TEXTS), context), whole, atol=1e-5)


def test_32_threads_give_the_single_thread_result(conditioning, make_encoder):
    encoder = make_encoder(conditioning)
    contexts = [encoder.fit_context(CORPUS, seed=seed) for seed in range(12)]
    expected = [encoder.encode_documents(CORPUS, context) for context in contexts]
    with ThreadPoolExecutor(32) as pool:
        jobs = [pool.submit(encoder.encode_documents, CORPUS, contexts[i % 12]) for i in range(96)]
    for i, job in enumerate(jobs):
        np.testing.assert_array_equal(job.result(), expected[i % 12])


def test_a_context_holds_the_first_stage_vectors_of_its_documents(make_encoder):
    encoder = make_encoder(document_prompt="read: ")
    context = encoder.fit_context(CORPUS, size=5)
    assert (len(context), context.distinct, context.corpus_size) == (5, 5, len(CORPUS))
    expected = encoder.first_stage_vectors([CORPUS[i] for i in context.positions])
    np.testing.assert_allclose(context.vectors, expected, atol=1e-5)
    assert not np.allclose(np.linalg.norm(context.vectors, axis=1), 1), "not normalised"


def test_the_models_context_size_is_the_default(make_encoder):
    assert len(make_encoder(context_size=11).fit_context(CORPUS)) == 11


def test_a_small_corpus_fills_the_context_by_repetition(make_encoder):
    context = make_encoder().fit_context(CORPUS[:3])
    assert (len(context), context.distinct) == (16, 3)
    assert len(set(context.documents)) == 3


@pytest.mark.parametrize("strategy", ["random", "kmeans", "diverse"])
def test_fitting_is_deterministic_and_reads_any_iterable_once(strategy, make_encoder):
    encoder = make_encoder()
    contexts = [encoder.fit_context(corpus, 6, strategy, 3) for corpus in (CORPUS, iter(CORPUS), CORPUS[::-1])]
    assert contexts[0] == contexts[1] == contexts[2]
    assert encoder.fit_context(CORPUS, 6, strategy, 4) != contexts[0]


def test_own_context_differs_from_another(conditioning, make_encoder):
    encoder = make_encoder(conditioning)
    own, foreign = encoder.fit_context(CORPUS), encoder.fit_context(QUERIES)
    assert own != foreign
    assert np.abs(encoder.encode_queries(QUERIES, own) - encoder.encode_queries(QUERIES, foreign)).max() > 1e-3


def test_the_context_dependent_share_is_computed_once(make_encoder, monkeypatch):
    encoder = make_encoder("cached")
    context = encoder.fit_context(CORPUS)
    calls = []
    prepare = encoder.model.second_stage.prepare
    monkeypatch.setattr(encoder.model.second_stage, "prepare", lambda v: calls.append(1) or prepare(v))
    for _ in range(3):
        encoder.encode_queries(QUERIES, context)
    assert len(calls) == 1
    for seed in range(20):
        encoder.encode_queries(QUERIES[:1], encoder.fit_context(CORPUS, seed=seed))
    assert len(encoder._prepared) == 8, "only the last few are remembered"


def test_save_and_load_give_the_same_encoder(conditioning, make_encoder, tmp_path):
    encoder = make_encoder(conditioning, query_prompt="walk: ")
    encoder.save(tmp_path / "model")
    again = ContextualEncoder.from_pretrained(tmp_path / "model", device="cpu", dtype="float32")
    context = encoder.fit_context(CORPUS)
    assert again.fingerprint == encoder.fingerprint
    assert again.fit_context(CORPUS) == context
    np.testing.assert_array_equal(again.encode_queries(QUERIES, context), encoder.encode_queries(QUERIES, context))


def test_bfloat16_stays_close_keeps_contexts_valid_and_saves_full_precision(conditioning, make_encoder, tmp_path):
    full, half = make_encoder(conditioning), make_encoder(conditioning, dtype="bfloat16")
    assert next(half.model.parameters()).dtype == torch.bfloat16
    context = full.fit_context(CORPUS)
    cosine = (full.encode_documents(CORPUS, context) * half.encode_documents(CORPUS, context)).sum(axis=1)
    assert half.fingerprint == full.fingerprint
    assert cosine.min() > 0.98
    half.save(tmp_path / "model")
    assert ContextualEncoder.from_pretrained(tmp_path / "model", "cpu", "float32").fingerprint == full.fingerprint


def test_the_fingerprint_covers_model_prompts_length_and_tokenizer(make_encoder, make_model):
    other_tokenizer = build_tokenizer()
    other_tokenizer.add_special_tokens(["[SEP]"])
    other_tokenizer.normalizer = None
    encoders = [
        make_encoder(),
        make_encoder("cached"),
        make_encoder(query_prompt="q: "),
        make_encoder(document_prompt="d: "),
        make_encoder(max_length=16),
        ContextualEncoder(make_model(), other_tokenizer, device="cpu", dtype="float32"),
    ]
    assert len({encoder.fingerprint for encoder in encoders}) == len(encoders)
    assert make_encoder(context_size=5).fingerprint == make_encoder().fingerprint


def test_running_out_of_memory_is_survived(make_encoder, monkeypatch):
    encoder = make_encoder("cached")
    context = encoder.fit_context(CORPUS)
    expected = encoder.encode_documents(TEXTS, context)
    embed, sizes = encoder.model.second_stage.embed, []

    def short_of_memory(input_ids, attention_mask, prepared):
        sizes.append(len(input_ids))
        if len(input_ids) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(input_ids, attention_mask, prepared)

    monkeypatch.setattr(encoder.model.second_stage, "embed", short_of_memory)
    np.testing.assert_allclose(encoder.encode_documents(TEXTS, context), expected, atol=1e-5)
    assert max(sizes) > 4
    monkeypatch.setattr(encoder.model.second_stage, "embed", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError))
    with pytest.raises(DeviceMemoryError, match="a single text does not fit"):
        encoder.encode_documents(TEXTS, context)


@pytest.mark.parametrize(("show_progress", "texts", "expected"), [(True, 3, True), (False, 3, False), (None, 3, False)])
def test_progress_bar_on_request(make_encoder, capsys, show_progress, texts, expected):
    encoder = make_encoder()
    encoder.first_stage_vectors(CORPUS[:texts], show_progress=show_progress)
    assert ("Embedding" in capsys.readouterr().err) is expected


def test_one_bar_for_work_that_takes_long(make_encoder, monkeypatch):
    bars = []
    original = tqdm.auto.tqdm
    monkeypatch.setattr(tqdm.auto, "tqdm", lambda **options: bars.append(options) or original(**options))
    model = make_encoder()
    model.first_stage_vectors(CORPUS)
    model.first_stage_vectors(CORPUS * 30)
    assert [(bar["total"], bar["disable"], bar["delay"] > 0) for bar in bars] == [(54, None, True), (1620, None, False)]


def test_long_texts_are_cut_with_a_warning(make_encoder, caplog):
    encoder = make_encoder()
    context = encoder.fit_context(CORPUS)
    with caplog.at_level(logging.WARNING):
        rows = encoder.encode_documents(["a " * 1_000_000, "the " * 30], context)
    assert "1 of 2 texts are longer than 32 tokens and were cut" in caplog.text
    np.testing.assert_allclose(rows[0], encoder.encode_documents(["a " * 30], context)[0], atol=1e-5)


@pytest.mark.parametrize("texts", [None, "one text", b"bytes", 3, ["fine", None], [["nested"]], ["caf\ud800"]])
def test_what_is_no_text_is_refused_by_every_method(make_encoder, texts):
    encoder = make_encoder()
    context = encoder.fit_context(CORPUS)
    for method in (
        encoder.fit_context,
        encoder.first_stage_vectors,
        lambda t: encoder.encode_documents(t, context),
        lambda t: encoder.encode_queries(t, context),
    ):
        with pytest.raises(InvalidTextError):
            method(texts)


def test_bad_options_are_refused(make_encoder):
    encoder = make_encoder()
    with pytest.raises(ConfigurationError, match="strategy 'best' is unknown"):
        encoder.fit_context(CORPUS, strategy="best")
    with pytest.raises(ContextTooSmallError, match="found 1 among 3"):
        encoder.fit_context(["same"] * 3)
    with pytest.raises(ConfigurationError, match=r"context must be a CorpusContext, found array.* \(ndarray\)"):
        encoder.encode_documents(CORPUS, np.zeros((3, 32)))


def test_a_context_of_another_model_is_refused(make_encoder, other_folder, tmp_path):
    other = ContextualEncoder.from_biencoder(other_folder, device="cpu", context_size=4)
    context = other.fit_context(CORPUS)
    context.save(tmp_path / "context")
    for foreign in (context, CorpusContext.load(tmp_path / "context")):
        with pytest.raises(ContextMismatchError, match="load the model that fitted the context"):
            make_encoder().encode_documents(CORPUS, foreign)


def test_a_tokenizer_of_another_model_is_refused(make_model):
    tokenizer = build_tokenizer()
    tokenizer.add_tokens([f"word{i}" for i in range(50)])
    with pytest.raises(CheckpointError, match=r"the tokenizer knows .* tokens, the model"):
        ContextualEncoder(make_model(), tokenizer)


def test_a_device_that_is_not_there_is_refused_before_loading(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="'cuda' was requested"):
        ContextualEncoder.from_pretrained("/nowhere", device="cuda")
    with pytest.raises(ConfigurationError, match="dtype 'int4' is unknown"):
        ContextualEncoder.from_pretrained("/nowhere", device="cpu", dtype="int4")


def test_the_given_model_is_not_cast(make_model):
    model = make_model()
    ContextualEncoder(model, build_tokenizer(), device="cpu", dtype="bfloat16")
    assert next(model.parameters()).dtype == torch.float32


def test_a_prompt_that_leaves_no_room_is_refused(make_encoder):
    with pytest.raises(ConfigurationError, match="fills all 32 tokens of a text; shorten it or raise max_length"):
        make_encoder(query_prompt="walk the tree " * 20)


def test_numpy_numbers_are_numbers(make_encoder, tmp_path):
    context = make_encoder().fit_context(CORPUS, size=np.int64(5), seed=np.int64(3))
    context.save(tmp_path / "context")
    assert CorpusContext.load(tmp_path / "context").seed == 3


def test_documents_that_all_look_the_same_are_refused(make_encoder):
    with pytest.raises(ContextTooSmallError, match="all context documents look the same to the model"):
        make_encoder().fit_context(["Red CAT", "red cat", " red  cat "])


@pytest.mark.parametrize("load", [ContextualEncoder.from_pretrained, ContextualEncoder.from_biencoder])
def test_a_directory_with_a_built_in_models_name_is_ambiguous(make_encoder, tmp_path, monkeypatch, load):
    monkeypatch.chdir(tmp_path)
    make_encoder().save("minilm")
    with pytest.raises(ConfigurationError, match=r"built-in model and also a directory here; give './minilm'"):
        load("minilm")
    assert ContextualEncoder.from_pretrained("./minilm", device="cpu").width == 32


def test_saving_never_replaces_another_kind_of_model(make_encoder, biencoder_folder, tmp_path):
    folder = shutil.copytree(biencoder_folder, tmp_path / "biencoder")
    for entry in folder.iterdir():
        if entry.name not in ("config.json", "model.safetensors", "tokenizer.json"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    before = (folder / "config.json").read_text()
    with pytest.raises(PathInUseError, match="already holds other files"):
        make_encoder().save(folder)
    assert (folder / "config.json").read_text() == before
    make_encoder().save(tmp_path / "mine")
    make_encoder(query_prompt="q: ").save(tmp_path / "mine")
    assert ContextualEncoder.from_pretrained(tmp_path / "mine", "cpu").config.query_prompt == "q: "


def test_batches_of_joint_make_room_for_the_context(make_encoder, monkeypatch):
    encoder = make_encoder("joint")
    context = encoder.fit_context(CORPUS)
    embed, sizes = encoder.model.second_stage.embed, []

    def counted(input_ids, attention_mask, prepared):
        sizes.append(len(input_ids) * (input_ids.shape[1] + prepared.vectors.shape[1]))
        return embed(input_ids, attention_mask, prepared)

    monkeypatch.setattr(encoder.model.second_stage, "embed", counted)
    monkeypatch.setattr(batches, "default_token_budget", lambda device: 120)
    encoder.encode_documents(CORPUS, context)
    assert len(sizes) > 10
    assert max(sizes) <= 120


def test_no_texts_have_no_rows_of_tokens(make_encoder):
    encoder = make_encoder()
    for part in encoder.tokenize([]):
        assert (tuple(part.shape), part.dtype) == ((0, 0), torch.int64)
    assert encoder.tokenize(iter([""]))[0].shape == (1, 2)
