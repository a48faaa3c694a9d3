"""The text of HTML that stands in Markdown; every pass is linear, whatever is left open."""

import re
from collections.abc import Iterator
from html import unescape

_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<[!?][^<>]*>")
_MARK = re.compile(r"`+|<!--|</?a\b[^<>]*>")
_UNSHOWN = re.compile(r"\s*<(script|style|textarea)\b", re.IGNORECASE)


def block_text(html: str) -> str:
    """Return what a block of HTML shows: no tags, no comments, nothing of scripts and styles."""
    if _UNSHOWN.match(html):
        return ""
    text = unescape(_TAG.sub(" ", _without_comments(html)))
    return "\n".join(" ".join(line.split()) for line in text.split("\n") if line.strip())


def without_anchors(paragraph: str) -> str:
    """Return a paragraph of Markdown without comments and the tags of anchors, except in spans of code."""
    kept, end = [], 0
    for begin, stop in _unshown(paragraph):
        kept.append(paragraph[end:begin])
        end = stop
    return "".join((*kept, paragraph[end:])) if kept else paragraph


def _without_comments(html: str) -> str:
    kept, end = [], 0
    while (begin := html.find("<!--", end)) >= 0 and (stop := html.find("-->", begin)) >= 0:
        kept.append(html[end:begin])
        end = stop + len("-->")
    return "".join((*kept, html[end:]))


def _unshown(paragraph: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of comments and of anchors' tags."""
    closing = _closing_backticks(paragraph)
    last_comment = paragraph.rfind("-->")
    end = 0
    for mark in _MARK.finditer(paragraph):
        begin = mark.start()
        if begin < end:
            continue
        if mark[0].startswith("`"):
            end = closing.get(begin, mark.end())
        elif mark[0] != "<!--":
            end = mark.end()
            yield begin, end
        elif begin < last_comment:
            end = paragraph.find("-->", begin) + len("-->")
            yield begin, end


def _closing_backticks(text: str) -> dict[int, int]:
    """Return where the span of code ends that begins at each run of backticks: at the next run of the same length."""
    ends: dict[int, int] = {}
    after: dict[int, int] = {}
    for run in reversed(list(re.finditer("`+", text))):
        length = len(run[0])
        if length in after:
            ends[run.start()] = after[length]
        after[length] = run.end()
    return ends
