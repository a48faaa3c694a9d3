"""A `SentenceTransformer` over the module gives exactly the encoder's vectors, before and after it was saved."""

import copy
import pickle

import numpy as np
import pytest
import torch
from tiny import CORPUS, QUERIES, build_tokenizer

pytest.importorskip("sentence_transformers", reason="needs the package of the `st` extra")

from sentence_transformers import SentenceTransformer

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import (
    CheckpointError,
    ConfigurationError,
    ContextFileError,
    ContextMismatchError,
    DeviceError,
    InvalidTextError,
)
from cde_retrievers.st import ContextualModule

LONG = "the cat " * 40
TEXTS = [*CORPUS, LONG, "", "green", "a b c d e f g h i j k l m n o p"]


def assert_same(found, wanted) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def sentence_transformer(module, **settings) -> SentenceTransformer:
    return SentenceTransformer(modules=[module], device="cpu", **{"prompts": module.prompts, **settings})


def test_vectors_are_the_encoders(conditioning, make_module):
    module = make_module(conditioning)
    model, encoder, context = sentence_transformer(module), module.encoder, module.context
    documents, queries = encoder.encode_documents(TEXTS, context), encoder.encode_queries(TEXTS, context)
    assert np.abs(documents - queries).max() > 1e-2, "the prompts would not show"
    assert_same(model.encode(TEXTS, prompt_name="document"), documents)
    assert_same(model.encode_document(TEXTS), documents)
    assert_same(model.encode(TEXTS, prompt_name="query"), queries)
    assert_same(model.encode_query(TEXTS), queries)
    assert_same(np.linalg.norm(model.encode_query(TEXTS), axis=1), 1)


def test_the_context_matters(make_module):
    module = make_module()
    other = ContextualModule(module.encoder, module.encoder.fit_context(QUERIES))
    first, second = (sentence_transformer(m).encode_document(TEXTS) for m in (module, other))
    assert np.abs(first - second).max() > 1e-2


def test_without_a_prompt_name_the_bare_text_is_embedded(module, make_encoder):
    vectors = module.encoder.forward_under(module.context)(*make_encoder().tokenize(TEXTS))
    assert_same(sentence_transformer(module).encode(TEXTS), vectors)
    assert np.abs(sentence_transformer(module).encode_query(TEXTS) - vectors.numpy()).max() > 1e-2


def test_a_prompt_is_put_once(module):
    model = sentence_transformer(module)
    vectors = module.encoder.encode_queries(QUERIES, module.context)
    assert_same(model.encode(QUERIES, prompt="walk: "), vectors)
    assert_same(model.encode([f"walk: {query}" for query in QUERIES]), vectors)
    ids, _ = module.encoder.tokenize(["walk: cat"])
    assert module.preprocess(["cat"], prompt="walk: ")["input_ids"].tolist() == ids.tolist()


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_batches_do_not_show(conditioning, make_module, batch_size):
    module = make_module(conditioning)
    model = sentence_transformer(module)
    wanted = module.encoder.encode_documents(TEXTS, module.context)
    assert_same(model.encode_document(TEXTS, batch_size=batch_size), wanted)


def test_long_texts_are_cut_where_the_encoder_cuts_them(module):
    model = sentence_transformer(module)
    features = module.preprocess([LONG, "cat"], prompt="read: ")
    assert features["input_ids"].shape == features["attention_mask"].shape == (2, model.max_seq_length)
    assert features["attention_mask"].sum(1).tolist()[0] == 32
    assert_same(model.encode_document([LONG]), model.encode_document([LONG + " dog"]))


def test_padding_has_the_encoders_id(make_model):
    model = make_model(context_size=16)
    model.config.backbone["pad_token_id"] = 3
    encoder = ContextualEncoder(model, build_tokenizer(), device="cpu", dtype="float32")
    features = ContextualModule(encoder, encoder.fit_context(CORPUS)).preprocess(["red cat", ""])
    assert features["input_ids"][1].tolist() == [2, 3, 3, 3]
    assert features["attention_mask"][1].tolist() == [1, 1, 0, 0]


def test_one_text_and_no_text(module):
    model = sentence_transformer(module)
    assert_same(model.encode_query("red cat"), module.encoder.encode_queries(["red cat"], module.context)[0])
    assert len(model.encode_document([])) == 0
    assert_same(np.linalg.norm(model.encode(""), axis=-1), 1)


def test_what_is_no_text_is_refused(module):
    with pytest.raises(InvalidTextError, match="text 0 must be a string, found tuple"):
        module.preprocess([("red", "cat")], prompt="walk: ")
    with pytest.raises(InvalidTextError, match="lone surrogate"):
        sentence_transformer(module).encode(["\ud800"])


def test_sizes_are_the_models(module):
    model = sentence_transformer(module)
    assert model.max_seq_length == 32
    assert model.get_embedding_dimension() == module.encoder.width == 32
    with pytest.warns(FutureWarning, match="renamed"):
        assert model.get_sentence_embedding_dimension() == 32
    assert module.context.fingerprint[:12] in repr(module)


def test_the_length_cannot_be_changed(module):
    with pytest.raises(ConfigurationError, match=r"cut at 32 tokens.*max_length=16"):
        sentence_transformer(module).max_seq_length = 16


@pytest.mark.parametrize("prompts", [None, {"query": "walk: "}])
def test_forgotten_prompts_are_refused(module, prompts):
    with pytest.raises(ConfigurationError, match=r"document were not given.*prompts=module.prompts"):
        sentence_transformer(module, prompts=prompts)


def test_a_model_without_prompts_needs_none(make_module):
    module = make_module(query_prompt="", document_prompt="")
    assert_same(
        sentence_transformer(module, prompts=None).encode_query(TEXTS),
        module.encoder.encode_queries(TEXTS, module.context),
    )


def test_the_context_of_another_model_is_refused(module, make_encoder):
    with pytest.raises(ContextMismatchError, match="was fitted by model"):
        ContextualModule(make_encoder(), module.context)


def test_a_move_that_is_none_keeps_the_encoder(module):
    encoder = module.encoder
    assert sentence_transformer(module).to("cpu").device.type == "cpu"
    assert module.encoder is encoder


def test_a_device_that_is_not_there_is_refused(module):
    with pytest.raises(DeviceError, match="'meta' was requested"):
        sentence_transformer(module).to("meta")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device, a GPU")
def test_a_move_gives_the_module_an_encoder_of_its_own(module):
    encoder = module.encoder
    wanted = encoder.encode_queries(QUERIES, module.context)
    model = sentence_transformer(module).to("cuda")
    assert (model.device.type, module.encoder.device.type, encoder.device.type) == ("cuda", "cuda", "cpu")
    np.testing.assert_allclose(model.encode_query(QUERIES), wanted, atol=1e-4)
    assert_same(encoder.encode_queries(QUERIES, module.context), wanted)


def test_an_encoder_elsewhere_is_a_copy(module):
    twin = module.encoder.on("cpu")
    assert twin.fingerprint == module.encoder.fingerprint
    shared = {w.data_ptr() for w in twin.model.parameters()} & {w.data_ptr() for w in module.encoder.model.parameters()}
    assert shared == set()
    assert_same(twin.encode_documents(TEXTS, module.context), module.encoder.encode_documents(TEXTS, module.context))


def test_nothing_is_trained(module):
    model = sentence_transformer(module).train()
    before = model.encode_query(QUERIES)
    embeddings = model.train()(model.preprocess(QUERIES, prompt="walk: "))["sentence_embedding"]
    assert not embeddings.requires_grad
    assert_same(embeddings, before)
    head = torch.nn.Linear(32, 4)
    head(embeddings).sum().backward()
    assert head.weight.grad is not None


def test_copies_share_the_encoder_and_pickles_are_refused(module):
    model = sentence_transformer(module)
    twin = copy.deepcopy(model)
    assert twin[0].encoder is module.encoder
    assert_same(twin.encode_query(QUERIES), model.encode_query(QUERIES))
    with pytest.raises(ConfigurationError, match="cannot be sent to other processes"):
        pickle.dumps(model)


@pytest.mark.parametrize("name", ["n" * 300, "nul\0", "\ud800", 5, None, "no/such"])
def test_what_names_no_module_is_our_error(name):
    with pytest.raises(CheckpointError):
        ContextualModule.load(name, local_files_only=True)


@pytest.mark.parametrize("file", ["encoder/model.safetensors", "encoder/tokenizer.json", "context/vectors.safetensors"])
def test_a_damaged_file_of_a_saved_module_is_refused(make_encoder, tmp_path, file):
    encoder = make_encoder("cached")
    ContextualModule(encoder, encoder.fit_context(CORPUS)).save(str(tmp_path / "module"))
    content = (tmp_path / "module" / file).read_bytes()
    (tmp_path / "module" / file).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises((CheckpointError, ContextFileError), match=r"(is damaged|is truncated, damaged)"):
        ContextualModule.load(tmp_path / "module")


def test_the_tokenizer_is_a_copy_of_the_encoders_and_cannot_be_replaced(module):
    model = sentence_transformer(module)
    tokenizer = model.tokenizer
    ids, mask = module.encoder.tokenize(CORPUS[:3])
    found = tokenizer(CORPUS[:3], padding=True, return_tensors="pt")
    assert found["input_ids"].tolist() == ids.tolist()
    assert found["attention_mask"].tolist() == mask.tolist()
    assert len(tokenizer(LONG)["input_ids"]) > module.max_seq_length
    assert len(tokenizer(LONG, truncation=True)["input_ids"]) == module.max_seq_length
    tokenizer.backend_tokenizer.enable_truncation(3)
    assert_same(model.encode_document(TEXTS), module.encoder.encode_documents(TEXTS, module.context))
    with pytest.raises(ConfigurationError, match="the tokenizer belongs to the encoder"):
        model.tokenizer = tokenizer


def test_tokens_have_no_embeddings_and_it_says_so(module):
    model = sentence_transformer(module)
    with pytest.raises(ConfigurationError, match="embeds whole texts"):
        model.encode(TEXTS, output_value="token_embeddings")
    assert_same(model.encode(TEXTS[:1], output_value=None)[0]["sentence_embedding"], model.encode(TEXTS[:1])[0])
