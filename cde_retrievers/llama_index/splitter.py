"""LlamaIndex's splitter by the tokens of the model that embeds the nodes."""

from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.node_parser import SentenceSplitter

from cde_retrievers.binding.tokens import ModelTokens
from cde_retrievers.corpora.bound_headings import bound, unbound


class ModelSentenceSplitter(SentenceSplitter):
    """A `SentenceSplitter` whose headings of Markdown stand with the text behind them.

    It keeps its tokenizer in other processes, where LlamaIndex's falls back to tiktoken's.

    Args:
        tokenizer: the tokens of the model.
        options: passed to `SentenceSplitter`.
    """

    _given: dict[str, Any] = PrivateAttr()

    def __init__(self, tokenizer: ModelTokens, **options: Any) -> None:
        super().__init__(tokenizer=tokenizer, **options)
        self._given = {"tokenizer": tokenizer, **options}

    def _split_text(self, text: str, chunk_size: int) -> list[str]:
        whole = bound(text, chunk_size // 2, self._token_size)
        return [unbound(part) for part in super()._split_text(whole, chunk_size)]

    def _token_size(self, text: str) -> int:
        return super()._token_size(unbound(text))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._given)


def _restore(kind: type[ModelSentenceSplitter], given: dict[str, Any]) -> ModelSentenceSplitter:
    return kind(**given)
