import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiny import CORPUS, WORDS, build_tokenizer
from tokenizers import Tokenizer
from tokenizers.normalizers import NFC
from tokenizers.processors import TemplateProcessing

from cde_retrievers.encoder.tokenizer import TextTokenizer, load_tokenizer
from cde_retrievers.errors import CheckpointError, InvalidTextError
from cde_retrievers.validation.texts import checked_texts, read_texts


@pytest.fixture
def tokenizer():
    return TextTokenizer(build_tokenizer(), max_length=8, pad_id=0)


def test_rows_are_padded_on_the_right(tokenizer):
    ids, mask = tokenizer.pad(tokenizer.encode(["the cat", "a red dog runs"]))
    assert ids.shape == mask.shape == (2, 6)
    assert mask.tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]
    assert ids[0, 4:].tolist() == [0, 0]


def test_an_empty_text_is_its_special_tokens(tokenizer):
    assert len(tokenizer.encode([""])[0]) == 2


def test_long_texts_are_cut_and_counted(tokenizer, caplog):
    with caplog.at_level(logging.WARNING):
        rows = tokenizer.encode(["the cat", "the cat " * 9, "a " * 100])
    assert [len(row) for row in rows] == [4, 8, 8]
    assert "2 of 3 texts are longer than 8 tokens and were cut" in caplog.text


def test_nothing_is_said_where_nothing_is_cut(tokenizer, caplog):
    tokenizer.encode(["the cat"])
    assert caplog.text == ""


def test_threads_do_not_disturb_each_other(tokenizer):
    expected = [row.tolist() for row in tokenizer.encode(CORPUS)]
    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(tokenizer.encode, [CORPUS] * 64))
    assert all([row.tolist() for row in rows] == expected for rows in results)


def test_the_callers_tokenizer_is_left_alone():
    original = build_tokenizer()
    TextTokenizer(original, max_length=8, pad_id=0)
    assert original.truncation is None


def test_fingerprint_follows_what_the_tokenizer_does():
    base = TextTokenizer(build_tokenizer(), 8, 0).fingerprint()
    assert TextTokenizer(build_tokenizer(), 16, 0).fingerprint() == base
    cased = build_tokenizer()
    cased.normalizer = NFC()
    grown = build_tokenizer()
    grown.add_tokens(["fish"])
    assert len({base, TextTokenizer(cased, 8, 0).fingerprint(), TextTokenizer(grown, 8, 0).fingerprint()}) == 3


def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again = TextTokenizer(load_tokenizer(tmp_path), 8, 0)
    assert again.fingerprint() == tokenizer.fingerprint()
    assert [r.tolist() for r in again.encode(CORPUS)] == [r.tolist() for r in tokenizer.encode(CORPUS)]


def test_a_missing_or_damaged_tokenizer_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no tokenizer.json; .* add one to a bi-encoder with AutoTokenizer"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": ')
    with pytest.raises(CheckpointError, match="is damaged"):
        load_tokenizer(tmp_path)


def test_what_is_no_tokenizer_is_refused():
    with pytest.raises(CheckpointError, match="a tokenizer of the `tokenizers` package is needed, found list"):
        TextTokenizer(WORDS, 8, 0)


def test_transformers_tokenizers_are_taken_by_their_backend():
    class Wrapper:
        backend_tokenizer: Tokenizer = build_tokenizer()

    assert TextTokenizer(Wrapper(), 8, 0).encode(["the cat"])[0].tolist() == [2, 4, 18, 3]


@pytest.mark.parametrize("collection", ["one text", b"bytes", None, 3, {"a": 1}])
def test_what_is_no_collection_of_texts_is_refused(collection):
    with pytest.raises(InvalidTextError, match="a collection of texts is expected, found"):
        list(checked_texts(collection))
    with pytest.raises(InvalidTextError, match="a collection of texts is expected, found"):
        read_texts(collection, str)


@pytest.mark.parametrize("item", [None, b"bytes", 3, 1.5, ["nested"], float("nan")])
def test_an_item_that_is_no_text_is_named_by_its_place(item):
    with pytest.raises(InvalidTextError, match=r"text 1 must be a string, found"):
        list(checked_texts(["fine", item]))


def test_a_lone_surrogate_is_refused_with_its_place_and_remedy():
    text = "caf\ud800"
    with pytest.raises(InvalidTextError, match=r"text 0 .* lone surrogate '\\ud800' at character 3; repair it"):
        list(checked_texts([text]))
    list(checked_texts([text.encode("utf-8", "replace").decode()]))


def test_any_iterable_of_texts_will_do():
    assert list(checked_texts(text for text in ("a", "b"))) == ["a", "b"]
    assert list(checked_texts(np.array(["a", "b"]))) == ["a", "b"]
    assert list(read_texts([1, 2], str)) == ["1", "2"]


def test_a_tokenizer_without_special_tokens_is_refused():
    bare = build_tokenizer()
    bare.post_processor = TemplateProcessing(single="$A", special_tokens=[])
    with pytest.raises(CheckpointError, match="adds no special tokens, so an empty text would have no token to embed"):
        TextTokenizer(bare, 8, 0)


def test_room_after_a_prompt(tokenizer):
    assert tokenizer.room_after("") == 6
    assert tokenizer.room_after("the cat ") == 4
    assert tokenizer.room_after("the cat " * 9) == 0


class _Unshowable:
    def __repr__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize("item", [10**5_000, _Unshowable(), [[]] * 10**6], ids=["long", "broken", "large"])
def test_what_cannot_be_shown_is_still_named_by_its_place(item):
    with pytest.raises(InvalidTextError, match=r"^text 1 must be a string, found \S+: .{1,200}$"):
        list(checked_texts(["a", item]))
