"""How long a text is for a model."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cde_retrievers.errors import ConfigurationError

if TYPE_CHECKING:
    from cde_retrievers.encoder.tokenizer import TextTokenizer
    from cde_retrievers.model.config import ContextualConfig

# Punctuation counts too: tables and code have much of it, and to a model each mark is a token.
_COUNTED = re.compile(r"[^\W_]+|[^\w\s]|_")
_WORDS_PER_PART = 150
# A run of letters counts as one word or as one unknown token, however long it is.
_LONGEST_TOKEN = 32  # characters


@runtime_checkable
class HasTokenizer(Protocol):
    """An embedder whose tokens can be counted, such as `ContextualEncoder`."""

    @property
    def tokenizer(self) -> "TextTokenizer":
        """Turns texts into token ids."""

    @property
    def config(self) -> "ContextualConfig":
        """Has the prompt before every document."""


CountedBy = HasTokenizer | Callable[[str], int]


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Counts the tokens of texts.

    Attributes:
        sizes: the number of tokens of each text.
        room: for the tokens of a document; None if unknown.
    """

    sizes: Callable[[Sequence[str]], list[int]]
    room: int | None

    def size(self, text: str) -> int:
        """Return the number of tokens of one text."""
        return self.sizes([text])[0]


def token_count(counted_by: CountedBy | None) -> TokenCount:
    """Return the count of an encoder's tokens, of a function's, or of words and punctuation marks if None.

    Raises:
        ConfigurationError: it can count nothing.
    """
    if counted_by is None:
        return TokenCount(lambda texts: [_at_least(_words(text), text) for text in texts], _WORDS_PER_PART)
    if isinstance(counted_by, HasTokenizer):
        return _of_model(counted_by.tokenizer, counted_by.config.document_prompt)
    if not callable(counted_by):
        raise ConfigurationError(
            f"tokens are counted by an encoder or a function, found a {type(counted_by).__name__}; give a "
            f"ContextualEncoder, or a function that returns the number of tokens of a text"
        )
    count = counted_by
    return TokenCount(lambda texts: [count(text) for text in texts], None)


def _of_model(tokenizer: "TextTokenizer", prompt: str) -> TokenCount:
    from tokenizers import Tokenizer

    whole = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    whole.no_truncation()

    def sizes(texts: Sequence[str]) -> list[int]:
        encoded = whole.encode_batch_fast(list(texts), add_special_tokens=False)
        return [_at_least(len(each.ids), text) for each, text in zip(encoded, texts, strict=True)]

    return TokenCount(sizes, tokenizer.room_after(prompt))


def _words(text: str) -> int:
    return sum(1 for _ in _COUNTED.finditer(text))


def _at_least(count: int, text: str) -> int:
    return max(count, len(text) // _LONGEST_TOKEN)
