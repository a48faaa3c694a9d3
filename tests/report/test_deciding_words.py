"""The words that decide are those whose BM25 differs most between two documents."""

import pytest

from cde_retrievers.report.deciding_words import deciding_words
from cde_retrievers.sparse import Analyzer, TermStatistics
from cde_retrievers.sparse.bm25 import document_rows, query_rows

TEXTS = [
    "The burr grinder crushes beans between two abrasive surfaces.",
    "A blade grinder chops beans and heats them.",
    "Espresso is brewed by forcing water through finely ground coffee.",
    "The bloom is hot water poured on ground coffee to release carbon dioxide.",
    "Error E1003: get_item_7 failed in release 3.11.7.",
    "Error E1004: get_item_8 failed in release 3.11.8, and failed again.",
]
STATISTICS = TermStatistics.of(TEXTS, Analyzer())
QUERIES = [
    "which burr grinder crushes hot beans",
    "water for coffee, finely ground",
    "(get_item_7) failed with E1003?",
    "release 3.11.8 error",
    "blade: hot!",
]


def by_leaving_out(query, favoured, other, statistics):
    """The slow twin, for queries of different words: what is lost of the difference when a word is left out."""

    def difference(words):
        asked = query_rows([" ".join(words)], statistics)
        first, second = (document_rows([text], statistics).multiply(asked).sum() for text in (favoured, other))
        return float(first) - float(second)

    words = [word.strip(".,:;!?()") for word in query.split()]
    gains = {word: difference(words) - difference([each for each in words if each != word]) for word in words}
    if difference(words) <= 0:
        return ()
    kept = [word for word in words if gains[word] >= max(gains.values()) / 4]
    return tuple(sorted(kept, key=lambda word: -round(gains[word], 5))[:3])


@pytest.mark.parametrize("query", QUERIES)
def test_words_are_those_that_are_missed_most_when_left_out(query):
    named = 0
    for favoured in TEXTS:
        for other in TEXTS:
            found = deciding_words(query, favoured, other, STATISTICS)
            assert found == by_leaving_out(query, favoured, other, STATISTICS)
            named += len(found)
    assert named > 3


def test_at_most_three_words_are_named_most_first():
    found = deciding_words(TEXTS[0].lower(), TEXTS[0], TEXTS[2], STATISTICS)
    assert found == ("burr", "crushes", "between")


def test_a_word_that_gives_little_is_not_named():
    # Both documents hold "beans" and "grinder", in texts of slightly different length.
    assert deciding_words("beans grinder burr", TEXTS[0], TEXTS[1], STATISTICS) == ("burr",)
    assert deciding_words("beans grinder blade", TEXTS[1], TEXTS[0], STATISTICS) == ("blade",)


def test_nothing_is_named_where_the_words_favour_the_other_one():
    assert deciding_words("burr grinder beans", TEXTS[1], TEXTS[0], STATISTICS) == ()
    assert deciding_words("burr grinder blade", TEXTS[0], TEXTS[0], STATISTICS) == ()
    assert deciding_words("the of ?!", TEXTS[0], TEXTS[1], STATISTICS) == ()
    assert deciding_words("", TEXTS[0], TEXTS[1], STATISTICS) == ()


def test_a_repeated_word_is_named_once():
    assert deciding_words("burr, burr burrs BURR", TEXTS[0], TEXTS[2], STATISTICS) == ("burr",)


def test_an_identifier_is_named_whole():
    assert deciding_words("why does get_item_7 fail?", TEXTS[4], TEXTS[5], STATISTICS) == ("get_item_7",)


def test_scripts_without_spaces_name_pairs_of_characters():
    texts = ["東京都の天気は晴れです", "大阪府の天気は雨です"]
    statistics = TermStatistics.of(texts, Analyzer(None))
    found = deciding_words("東京都の天気、教えて。", *texts, statistics)
    assert set(found) == {"東京", "京都", "都の"}


def test_a_word_of_letters_outside_ascii_stays_whole():
    texts = ["हिन्दी में लिखो", "अंग्रेज़ी में लिखो"]
    statistics = TermStatistics.of(texts, Analyzer(None))
    assert deciding_words("क्या हिन्दी?", *texts, statistics) == ("हिन्दी",)
