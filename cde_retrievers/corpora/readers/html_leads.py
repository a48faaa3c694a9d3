"""Paragraphs of a page that announce what comes behind them: bold ones, and questions among these."""

from __future__ import annotations

import re
from typing import Any

from cde_retrievers.corpora.readers.html_shown import shown_nodes

_BOLD = {"b", "strong"}
_AROUND = {*_BOLD, "a", "big", "em", "font", "i", "span", "u"}
_LONGEST = 400  # characters
_MOST_ELEMENTS = 50
_DEEPEST = 5
_QUESTION = re.compile(
    r"\W*(?:\(\d{1,3}\)|\d{1,3}[.)]|Q(?:uestion)?\s?\d{0,3}[.:)])\s|.*[?\uff1f]\W*\Z", re.DOTALL | re.IGNORECASE
)


def is_bold(paragraph: Any) -> bool:
    """Whether nothing of a paragraph is outside of one bold element."""
    return bool(_bold_text(paragraph))


def is_question(paragraph: Any) -> bool:
    """Whether a paragraph is a bold question, or bold and numbered as one."""
    return _QUESTION.match(_bold_text(paragraph).strip()) is not None


def _bold_text(paragraph: Any) -> str:
    """Return the text of a paragraph that is short and bold as a whole; nothing of others."""
    node = _only_child(paragraph)
    for _ in range(_DEEPEST):
        if node is None or node.tag not in _AROUND:
            return ""
        if node.tag in _BOLD:
            return _short_text(node)
        node = _only_child(node)
    return ""


def _only_child(node: Any) -> Any:
    """Return the one child that shows something, or None; targets of links and line breaks show nothing."""
    shown = None
    for child in node.iter(include_text=True):
        is_text = child.tag == "-text"
        if child.tag in ("-comment", "br") or (is_text and not (child.text_content or "").strip()):
            continue
        if child.tag in ("a", "span") and child.child is None:
            continue
        if is_text or shown is not None:
            return None
        shown = child
    return shown


def _short_text(node: Any) -> str:
    """Return the text of an element; nothing if it is long."""
    text = ""
    for number, (each, _) in enumerate(shown_nodes(node, set())):
        text += (each.text_content or "") if each.tag == "-text" else ""
        if number > _MOST_ELEMENTS or len(text) > _LONGEST:
            return ""
    return text
