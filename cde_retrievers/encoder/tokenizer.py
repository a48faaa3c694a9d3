"""Tokenising and padding of texts.

Axes: B texts, L tokens.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from cde_retrievers.encoder.cut_texts import cut_texts_told_once
from cde_retrievers.errors import CheckpointError, ConfigurationError
from cde_retrievers.model.config import ContextualConfig, JointConditioning
from cde_retrievers.model.hub import hub_file
from cde_retrievers.storage.hashing import sha256_of_json

TokenIds = NDArray[np.int64]
TOKENIZER_FILE = "tokenizer.json"
_SHOWN = 100
_MOST_TOKENS = 10_000_000
# Shows the differences between tokenizers: case, accents, digits, other scripts, punctuation, spaces.
_PROBE = "Straße, naïve CAFÉ-Größe 1,234.50€ don't  re-use\tsnake_case 漢字 Привет 😀 search_query: x"


def load_tokenizer(folder: Path, source: str | None = None, cache_folder: str | Path | None = None) -> Tokenizer:
    """Load the `tokenizer.json` of a model's folder, or else of the hub repository `source`.

    Raises:
        CheckpointError: it is missing and cannot be fetched, or is damaged.
    """
    path = folder / TOKENIZER_FILE
    if not path.is_file() and source is not None:
        path = hub_file(source, TOKENIZER_FILE, folder, cache_folder)
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no {TOKENIZER_FILE}; save a contextual model together with its tokenizer, with "
            f"ContextualEncoder(model, tokenizer).save(...), or add one to a bi-encoder with "
            f"AutoTokenizer.from_pretrained(...).save_pretrained({str(folder)!r})"
        )
    with _damage_explained(path):
        return Tokenizer.from_file(str(path))


class TextTokenizer:
    """Turns texts into token ids of at most `max_length`; safe to use from several threads.

    Args:
        tokenizer: from the `tokenizers` package, or one of transformers' that is backed by it.
        max_length: tokens per text, special tokens included.
        pad_id: pads shorter rows; the mask hides it from the model.
    """

    def __init__(self, tokenizer: object, max_length: int, pad_id: int) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if not isinstance(backend, Tokenizer):
            raise CheckpointError(
                f"a tokenizer of the `tokenizers` package is needed, found {type(tokenizer).__name__}"
            )
        # A copy, since changing a tokenizer's truncation while another thread encodes is an error.
        self._tokenizer = _copied(backend)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self.max_length = max_length
        self._pad_id = pad_id
        if len(self._tokenizer.encode("").ids) == 0:
            raise CheckpointError("the tokenizer adds no special tokens, so an empty text would have no token to embed")

    @classmethod
    def of(cls, tokenizer: object, config: ContextualConfig) -> "TextTokenizer":
        """Return the tokenizer of a model."""
        return cls(tokenizer, config.max_length, config.backbone["pad_token_id"] or 0)

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The underlying `tokenizers.Tokenizer`."""
        return self._tokenizer

    def room_after(self, prompt: str) -> int:
        """Return the number of tokens left for a text after `prompt`."""
        return self.max_length - len(self._tokenizer.encode(prompt).ids)

    @property
    def vocabulary_size(self) -> int:
        """The largest token id plus one."""
        return _vocabulary_size(self._tokenizer)

    def token_id(self, token: str) -> int | None:
        """Return the id of a token, or None if it is not in the vocabulary."""
        found: int | None = self._tokenizer.token_to_id(token)
        return found

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return token ids of each text; long texts are cut at the end, and counted (`cut_texts`)."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        cut = sum(bool(encoding.overflowing) for encoding in encodings)
        with cut_texts_told_once() as counted:
            counted.add(len(encodings), cut, self.max_length)
        return [np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings]

    def pad(self, rows: Sequence[TokenIds]) -> tuple[Tensor, Tensor]:
        """Pad rows of token ids on the right -> ids and mask, each (B, L); (0, 0) without rows."""
        longest = max((len(row) for row in rows), default=0)
        ids = np.full((len(rows), longest), self._pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def save(self, directory: Path) -> None:
        """Write `tokenizer.json` into an existing directory."""
        self._tokenizer.save(str(directory / TOKENIZER_FILE))

    def fingerprint(self) -> str:
        """Return the SHA-256 over the vocabulary and a probe's token ids; it does not depend on the file's layout."""
        whole = Tokenizer.from_str(self._tokenizer.to_str())
        whole.no_truncation()
        vocabulary = sorted(whole.get_vocab(with_added_tokens=True).items())
        return sha256_of_json([vocabulary, whole.encode(_PROBE).ids])


def _vocabulary_size(tokenizer: Tokenizer) -> int:
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1


def _copied(tokenizer: Tokenizer) -> Tokenizer:
    # Checked first, because serialising a tokenizer takes time and memory for every number up to its largest id.
    if _vocabulary_size(tokenizer) > _MOST_TOKENS:
        raise CheckpointError(
            f"the tokenizer has the token id {_vocabulary_size(tokenizer) - 1}, but at most {_MOST_TOKENS:,} tokens "
            f"are possible; fetch or save it again"
        )
    with _damage_explained("the tokenizer"):
        copy = Tokenizer.from_str(tokenizer.to_str())
        largest = max(copy.encode(_PROBE).ids, default=0)
    if largest >= _vocabulary_size(copy):
        raise CheckpointError(
            f"the tokenizer is damaged (it gives token {largest}, which is not in its vocabulary); fetch or save it "
            f"again"
        )
    return copy


@contextmanager
def _damage_explained(what: object) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        # The tokenizers package raises nothing more specific, and if Rust panics not even an Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(f"{what} is damaged ({error}); fetch or save it again") from error


def check_tokenizer(tokenizer: TextTokenizer, config: ContextualConfig) -> None:
    """Refuse a tokenizer that does not belong to the model, and prompts that leave no room for a text.

    Raises:
        CheckpointError: the vocabulary is larger than the model's, or the token that ends a prompt is another one.
        ConfigurationError: a prompt fills all tokens of a text.
    """
    if tokenizer.vocabulary_size > config.backbone["vocab_size"]:
        raise CheckpointError(
            f"the tokenizer knows {tokenizer.vocabulary_size} tokens, the model {config.backbone['vocab_size']}; "
            f"use the tokenizer the model was trained with"
        )
    for prompt in (config.query_prompt, config.document_prompt):
        if tokenizer.room_after(prompt) < 1:
            raise ConfigurationError(
                f"the prompt {prompt!r} fills all {config.max_length} tokens of a text; shorten it or raise max_length"
            )
    end = config.conditioning.instruction_end if isinstance(config.conditioning, JointConditioning) else None
    if end is not None and tokenizer.token_id(":") != end:
        raise CheckpointError(
            f"the model expects token {end} at the end of a prompt, which must be ':', but the tokenizer has "
            f"{tokenizer.token_id(':')} for ':'; use the tokenizer the model was trained with"
        )
