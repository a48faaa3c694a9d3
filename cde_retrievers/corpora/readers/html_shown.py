"""The nodes of a page that a browser shows, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_UNSHOWN = {
    *("head", "script", "style", "template", "noscript", "noframes", "noembed", "svg", "iframe", "object", "canvas"),
    *("audio", "video", "nav", "footer", "form", "button", "select", "datalist", "aside", "dialog", "rp"),
}
_HIDING = re.compile(r"(?:\A|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
_FORMULA = 'annotation[encoding="application/x-tex"]'
# Links that lead from a heading to itself.
_ANCHORS = re.compile(r"\b(headerlink|anchor(?:js)?(?:-link)?|permalink|hash-link|mark)\b")
_ANCHOR_SIGNS = {"\u00b6", "\u00a7", "#", "\U0001f517"}


def shown_nodes(root: LexborNode, left_out: set[int]) -> Iterator[tuple[Any, bool]]:
    """Yield every node that is shown when it opens, and elements again when they close; code in it is one element."""
    waiting: list[tuple[Any, bool]] = [(root, True)]
    while waiting:
        node, opens = waiting.pop()
        if opens and (node.tag in _UNSHOWN or node.mem_id in left_out or _is_anchor(node)):
            continue
        yield node, opens
        if opens and node.tag != "-text":
            waiting.append((node, False))
            if node.tag != "pre" or node.mem_id == root.mem_id:
                waiting.extend((child, True) for child in reversed(list(node.iter(include_text=True))))


def hidden_nodes(root: LexborNode) -> set[int]:
    """Return the elements that are marked as not shown, by `mem_id`; of a formula, all but its source."""
    hidden = [*root.css("[hidden]"), *root.css('[aria-hidden="true"]')]
    hidden += [node for node in root.css("[style]") if _HIDING.search((node.attributes or {}).get("style") or "")]
    for formula in root.css("math"):
        source = formula.css_first(_FORMULA)
        if source is not None and source.parent is not None:
            hidden += [node for node in source.parent.iter() if node.mem_id != source.mem_id]
    return {node.mem_id for node in hidden if (node.attributes or {}).get("hidden") != "until-found"}


def _is_anchor(node: Any) -> bool:
    if node.tag != "a":
        return False
    text = node.text(deep=True).strip()
    if text in _ANCHOR_SIGNS and ((node.attributes or {}).get("href") or "").startswith("#"):
        return True
    return len(text) <= 1 and bool(_ANCHORS.search((node.attributes or {}).get("class") or ""))
