"""Text analysis: words, the parts of identifiers, stems and character pairs, each as a number."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import blake2b

import regex
import Stemmer

from cde_retrievers.errors import ConfigurationError, shown

TERM_LIMIT = 1 << 24
"""Terms are numbers below this: enough that few of a corpus share one, few enough for a transposed matrix in memory."""
_VERSION = 1
_CACHED_CHUNKS = 1 << 17
_LONGEST_CACHED = 40
_LONGEST_TERM = 256
# Each pattern is a repeated character class: the time to match it grows with the length of the text and no faster.
# Unlike the standard library's, this \w includes the combining marks without which words of Hindi or Thai fall apart.
_CHUNK = regex.compile(r"[\w.\-]+")
# Scripts that are written without spaces between words, and Hangul, whose endings are not separated.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"(?P<unspaced>[{_UNSPACED}]+)|[^\W{_UNSPACED}]+")
# getHTTPResponse2 -> get HTTP Response 2
_PART = regex.compile(r"\p{Lu}?[^\W\d_\p{Lu}]+|\p{Lu}+(?![^\W\d_\p{Lu}])|\p{Lu}|\d+")
# Words that say nothing about the subject of a text. Where there is no list, a low idf does most of the same.
_ENGLISH = """a an and are as at be but by for if in into is it no not of on or such that the their then there these
they this to was will with"""
_STOP_WORDS = {"english": frozenset(_ENGLISH.split())}
# Releases of the stemmer that stem differently are told apart by these.
_PROBE = "running generously skies dying ugly organization communities news gas proceed yes"


@dataclass(frozen=True, slots=True)
class Analyzer:
    """Turns texts into terms. Analyzers with the same `identity` yield the same terms.

    Words are normalised (NFKC), lower-cased and stemmed. An identifier such as `getHTTPResponse`, `max_length` or
    `3.11.7` yields its parts and, as a whole, itself. Chinese, Japanese, Korean, Thai and other scripts without spaces
    between words yield pairs of characters.

    Attributes:
        language: language of stems and stop words, by its English name; None for neither, which suits any language.

    Raises:
        ConfigurationError: there is no stemmer for the language.
    """

    language: str | None = "english"

    def __post_init__(self) -> None:
        if self.language is not None and self.language not in Stemmer.algorithms():
            raise ConfigurationError(
                f"there is no stemmer for language {shown(self.language)}; use one of {sorted(Stemmer.algorithms())}, "
                f"or None for words as they are"
            )

    def terms(self, text: str) -> list[int]:
        """Return the terms of a text in order, each as often as it occurs."""
        terms: list[int] = []
        for chunk in _CHUNK.findall(unicodedata.normalize("NFKC", text)):
            find = _cached_terms if len(chunk) <= _LONGEST_CACHED else _terms_of_chunk
            terms += find(chunk, self.language)
        return terms

    @property
    def identity(self) -> str:
        """Hash of the settings, and of how the installed stemmer stems."""
        stems = " ".join(_stem(word, self.language) for word in _PROBE.split())
        return blake2b(f"{_VERSION} {self.language} {stems}".encode(), digest_size=16).hexdigest()


def term_number(term: str) -> int:
    """Return the number of a term, in [0, 2^24): the same on every machine, and rarely that of another term."""
    return int.from_bytes(blake2b(term.encode(), digest_size=4).digest(), "little") % TERM_LIMIT


def _terms_of_chunk(chunk: str, language: str | None) -> tuple[int, ...]:
    return tuple(term_number(word[:_LONGEST_TERM]) for word in _words_of(chunk, language))


_cached_terms = lru_cache(maxsize=_CACHED_CHUNKS)(_terms_of_chunk)


def _words_of(chunk: str, language: str | None) -> Iterator[str]:
    """Yield the terms of a run of word characters, dots and hyphens, as text."""
    words = list(_WORD.finditer(chunk))
    for found in words:
        word = found[0]
        if found["unspaced"]:
            yield from (word[i : i + 2] for i in range(max(1, len(word) - 1)))
            continue
        parts = _PART.findall(word)
        whole = word.casefold()
        if len(parts) > 1:
            yield from (_stem(part.casefold(), language) for part in parts)
            yield whole
        elif whole not in _STOP_WORDS.get(language or "", ()):
            yield _stem(whole, language)
    joined = chunk.strip(".-").casefold()
    # "v2.1.0", "os.path.join" and "utf-8", but not the compound "well-kept" or a sentence without a space after it.
    if len(words) > 1 and any(character.isdigit() or character in "._" for character in joined):
        yield joined


def _stem(word: str, language: str | None) -> str:
    return word if language is None else str(_stemmer(language).stemWord(word[:_LONGEST_TERM]))


@cache
def _stemmer(language: str) -> "Stemmer.Stemmer":
    return Stemmer.Stemmer(language, 0)  # its own cache is not safe to use from several threads
