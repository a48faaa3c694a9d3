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

    def chunk_lengths(self, overlap: int | None, chunk_size: int | None = None) -> dict[str, int]:
        """Return the tokens of a part and of what it repeats, as the frameworks' splitters name them.

        Args:
            overlap: tokens to repeat; an eighth of a part if None.
            chunk_size: tokens of a part; as many as the model reads if None.

        Raises:
            ConfigurationError: one is no whole number, or the overlap leaves no room for new text.
        """
        length = self.room if chunk_size is None else chunk_size
        check_whole("chunk_size", length, 1)
        if overlap is None:
            return {"chunk_size": length, "chunk_overlap": length // _SHARE}
        check_whole("overlap", overlap, 0)
        if overlap >= length:
            raise ConfigurationError(f"overlap must be less than the {length} tokens of a part, found {overlap}")
        return {"chunk_size": length, "chunk_overlap": overlap}
