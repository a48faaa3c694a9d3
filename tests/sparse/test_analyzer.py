"""Texts become the terms that a search engine's user expects, in every script, in time linear in their length."""

import pickle
import threading

import pytest

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.sparse.analyzer import TERM_LIMIT, Analyzer, term_number

ENGLISH = Analyzer()


def numbers(words: str) -> list[int]:
    return [term_number(word) for word in words.split()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cats were running", "cat were run"),
        ("the and of", ""),
        ("", ""),
        ("\U0001f600 !?", ""),
        ("getHTTPResponse2", "get http respons 2 gethttpresponse2"),
        ("max_length", "max length max_length"),
        ("os.path.join", "os path join os.path.join"),
        ("3.11.7", "3 11 7 3.11.7"),
        ("E0277", "e 0277 e0277"),
        ("ERR_CONNECTION_RESET.", "err connect reset err_connection_reset"),
        ("utf-8", "utf 8 utf-8"),
        ("a well-kept house", "well kept hous"),
        ("ﬁle", "file"),
        ("STRASSE straße", "strass strass"),
        ("東京都", "東京 京都"),
        ("字", "字"),
        ("iPhone手机", "i phone iphone 手机"),
    ],
)
def test_english_text(text, words):
    assert ENGLISH.terms(text) == numbers(words)


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("german", "Die Häuser", "die haus"),
        ("french", "les chevaux", "le cheval"),
        (None, "The cats running", "the cats running"),
        (None, "हिन्दी में", "हिन्दी में"),
        (None, "ภาษาไทย", " ".join("ภาษาไทย"[i : i + 2] for i in range(6))),
    ],
)
def test_other_languages(language, text, words):
    assert Analyzer(language).terms(text) == numbers(words)


def test_forms_of_one_text_are_one_term():
    assert ENGLISH.terms("cafe\u0301") == ENGLISH.terms("caf\u00e9") == ENGLISH.terms("CAF\u00c9")


def test_a_part_finds_its_identifier_and_the_whole_tells_it_from_others():
    whole, other = ENGLISH.terms("setup_device"), ENGLISH.terms("setup_network")
    assert set(ENGLISH.terms("setup")) <= set(whole) & set(other)
    assert set(ENGLISH.terms("setup_device")) - set(other)


@pytest.mark.parametrize("language", ["klingon", "", "English", 5, [], "en"])
def test_a_language_without_a_stemmer_is_refused(language):
    with pytest.raises(ConfigurationError, match=r"no stemmer for language .*english.*or None"):
        Analyzer(language)


def test_identity_is_of_settings_and_stems(monkeypatch):
    assert Analyzer("english").identity == ENGLISH.identity
    assert len({Analyzer(language).identity for language in ("english", "german", None)}) == 3
    before = ENGLISH.identity
    monkeypatch.setattr("cde_retrievers.sparse.analyzer._stem", lambda word, _: word[:3])
    assert ENGLISH.identity != before


def test_numbers_are_the_same_on_every_machine():
    assert term_number("context") == 11_208_447
    assert all(0 <= term_number(str(i)) < TERM_LIMIT for i in range(1000))


@pytest.mark.parametrize("piece", ["a", "A", "aA", "a.", "-", "_", "1", "字", "word ", "\u0301", "Ab1"])
def test_long_texts_take_no_more_than_their_length(piece):
    # A pattern that is not linear would take hours, and the run would be stopped by its limit.
    terms = ENGLISH.terms(piece * 50_000)
    assert len(terms) <= 150_001


def test_threads_get_the_same_terms():
    texts = [f"threads number {i} are running in getThread{i}" for i in range(300)]
    expected = [ENGLISH.terms(text) for text in texts]
    found: list[list[list[int]]] = []
    threads = [threading.Thread(target=lambda: found.append([Analyzer().terms(t) for t in texts])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


def test_pickles():
    assert pickle.loads(pickle.dumps(ENGLISH)) == ENGLISH
