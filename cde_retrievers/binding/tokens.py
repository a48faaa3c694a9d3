"""The tokens of the model behind an embedding, for splitters whose parts should not be cut."""

from tokenizers import Tokenizer

from cde_retrievers.encoder.delegating import DelegatingEmbedder
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.validation.numbers import check_whole

_SHARE = 8  # of a part repeats the end of the one before


class ModelTokens:
    """Splits texts into a model's tokens, uncut and without special tokens; it is picklable.

    Attributes:
        room: number of tokens of a text that the model reads, beside prompt and special tokens.
    """

    def __init__(self, encoder: ContextualEncoder) -> None:
        # A copy, since the encoder's own cuts texts.
        self._tokenizer = Tokenizer.from_str(encoder.tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_truncation()
        self.room = encoder.tokenizer.room_after(encoder.config.document_prompt)

    @classmethod
    def of(cls, embedder: Embedder) -> "ModelTokens":
        """Return the tokens of the model that an embedder asks.

        Raises:
            ConfigurationError: it is not a contextual model of this library, so that its tokens are unknown.
        """
        while isinstance(embedder, DelegatingEmbedder):
            embedder = embedder._embedder()
        if not isinstance(embedder, ContextualEncoder):
            raise ConfigurationError(
                f"the tokens of {embedder.name} are not known here; make a splitter with the model's own tokenizer"
            )
        return cls(embedder)

    def __call__(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return found

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return len(self(text))

    def checked_overlap(self, overlap: int | None) -> int:
        """Return the number of tokens to repeat, an eighth of a part if None.

        Raises:
            ConfigurationError: it is negative, or leaves no room for new text.
        """
        if overlap is None:
            return self.room // _SHARE
        check_whole("overlap", overlap, 0)
        if overlap >= self.room:
            raise ConfigurationError(
                f"overlap must be less than the {self.room} tokens that the model reads of a text, found {overlap}"
            )
        return overlap
