"""What a text begins with, taken out of it: a query must not stand, word for word, at the head of its own answer."""

import re
from collections.abc import Iterator

# Scripts that put no spaces between words (Thai, Lao, Burmese, Khmer, Chinese, Japanese): a character is a word.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")
_WIDE_ENDS = r"\u3002\uff01\uff1f"
_CLOSING = r"[\"')\]\u2019\u201d\u300d\u300f\uff09]*"
_SENTENCE_END = re.compile(rf"(?<=[.!?]){_CLOSING}(?=\s)|(?<=[{_WIDE_ENDS}]){_CLOSING}|(?=\n[^\S\n]*\n)")
_ABBREVIATION = re.compile(r"\b(?:[^\W\d_]|Dr|Mrs?|Ms|Prof|St|vs|etc|cf|al|Fig|No|i\.e|e\.g)\.\Z", re.IGNORECASE)
_LONGEST_ABBREVIATION = 8
# What stands around a title: line breaks, rules, marks of emphasis and headings, punctuation.
_AROUND = r"[\s#=\-*_:.,;|\u2013\u2014]*+"
_LEADING = re.compile(_AROUND)
_MIN_SENTENCE_WORDS = 4


def word_count(text: str) -> int:
    """How many words there are; in scripts without spaces, how many characters."""
    return sum(1 for _ in _WORD.finditer(text))


def plain(text: str) -> str:
    """The text in lower case, with one space between words."""
    return " ".join(text.split()).casefold()


def without_beginning(text: str, query: str) -> str:
    """The text behind the query, where it begins with it, however often; else all of it.

    Upper and lower case, spaces, line breaks and the marks of a heading do not count. Empty if the rest would begin
    with the query still, in the middle of a word.
    """
    text = text.strip()
    # Marks before the query are passed over without a second try, since that would take the square of the time.
    words = r"\s++".join(map(re.escape, _LEADING.sub("", query, count=1).split()))
    beginning = re.compile(rf"{_AROUND}{words}(?:(?![^\W_])|(?=[{_UNSPACED}])){_AROUND}", re.IGNORECASE)
    end = 0
    while words and (match := beginning.match(text, end)):
        end = match.end()
    rest = text[end:]
    return "" if plain(rest).startswith(plain(query)) else rest


def first_sentence(text: str) -> str | None:
    """The shortest beginning that ends as a sentence or paragraph does, and has a few words; None if all of it."""
    text = text.strip()
    words = before = 0
    for end in _sentence_ends(text):
        words, before = words + word_count(text[before:end]), end
        if words >= _MIN_SENTENCE_WORDS:
            return " ".join(text[:end].split()) if end < len(text) else None
    return None


def _sentence_ends(text: str) -> Iterator[int]:
    for match in _SENTENCE_END.finditer(text):
        end = match.end()
        goes_on = text[end : end + 16].lstrip()[:1].islower()
        if not goes_on and not _ABBREVIATION.search(text[max(0, end - _LONGEST_ABBREVIATION) : end]):
            yield end
