"""LangChain's splitter, where headings stay with the text behind them."""

from typing import Any

from langchain_text_splitters import RecursiveCharacterTextSplitter

from cde_retrievers.corpora.bound_headings import bound, unbound


class HeadingTextSplitter(RecursiveCharacterTextSplitter):
    """A `RecursiveCharacterTextSplitter` whose headings of Markdown stand with the text behind them.

    Args:
        options: passed to `RecursiveCharacterTextSplitter`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._length_of_text = self._length_function
        self._length_function = self._length

    def split_text(self, text: str) -> list[str]:
        """Split a text into parts."""
        whole = bound(text, self._chunk_size // 2, self._length_of_text)
        return [unbound(part) for part in super().split_text(whole)]

    def _length(self, text: str) -> int:
        return self._length_of_text(unbound(text))
