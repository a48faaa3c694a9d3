"""The running text of a Markdown or plain text: what is read as sentences.

Left out are front matter, comments, code, tables, anchors and tags, definitions and lists of links, and lists of
parameters, which nobody asks for by their words.
"""

import re
from collections.abc import Iterator

_FRONT_MATTER = re.compile(r"\A\s*(---|\+\+\+)[ \t]*\n(?=[\w\"'-]+[ \t]*[:=]).*?^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_INDENTED = re.compile(r"(?: {4}|\t)[ \t]*(?![-*+] |\d+[.)] )\S")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,500}>")
_LINK = re.compile(r"!?\[([^\[\]\n]{0,500})\](?:\([^()\n]{0,1000}\)|\[[^\[\]\n]{0,500}\])")
_MARKS = re.compile(r"\*\*|__|`")
# Lines that are no sentences: titles and rules, rows of tables, definitions of links, directives, fields.
_NO_SENTENCE = re.compile(
    r"\s*(?:#{1,6}(?:\s|$)|[=\-*_~^]{3,}\s*$|\||\[[^\]\n]+\]:\s|\.\. |:[\w ]{1,60}:|@[a-z]+\b|\{[%{]|!!! |>\s*\[!\w+\])"
)
_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s+")
_PARAMETER = re.compile(
    r"(?:`[^`\n]+`|\*\*[\w.]+\*\*|[\w.$]+)\s*(?:\{|\(|<|:|-\s|\u2013|\u2014|$)|(?:Returns|Type|Default)\b"
)
_WORD = re.compile(r"\w")
_CALL = re.compile(r"(?<=\w)\([^()\n]*\)")
_HEADING_ID = re.compile(r"\s*\{#[^{}\n]*\}\s*$")
# "1.2 Tea", "3. Tea", "A.1 Tea", "Chapter 4 Tea", "Appendix B: Tea"; but "3 teas" are three.
_SECTION = re.compile(
    r"\A(?:(?i:chapter|part|appendix|section)\s+(?:\d{1,3}(?:\.\d{1,3})*[.):]?|(?:[A-Z]|[IVXLC]{1,6})[.):])"
    r"|(?:\d{1,3}|[A-Z])(?:\.\d{1,3})+[.):]?"
    r"|\d{1,3}[.):])\s+(?=\S)"
)
_LONGEST_LINE = 20_000


def prose(text: str) -> str:
    """Return the sentences of a text, with its line breaks and without marks of emphasis, links and code spans."""
    return "\n".join(_lines(_COMMENT.sub("", _FRONT_MATTER.sub("", text, count=1)))).strip()


def plain_title(title: str) -> str:
    """Return a title as a person writes it: without number, tags, marks, anchors, and the arguments of functions."""
    line = _without_marks(_HEADING_ID.sub("", " ".join(_COMMENT.sub("", title).split())))
    return _SECTION.sub("", " ".join(_CALL.sub("", line).replace("\\", "").split()).strip("# "), count=1)


def _lines(text: str) -> Iterator[str]:
    fence: str | None = None
    is_code, before = False, ""
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if fence is not None:
            fence = None if mark and mark[1].startswith(fence) and not line[mark.end() :].strip() else fence
            continue
        if mark and "`" not in line[mark.end() :]:
            fence = mark[1]
            continue
        # Indented lines are code after an empty line, and then up to the next line that is not.
        is_code = (is_code or not before.strip()) if _INDENTED.match(line) else is_code and not line.strip()
        before = line
        yield "" if is_code else _sentences(line)


def _sentences(line: str) -> str:
    """Return the line without its marks; nothing for one that holds no sentence."""
    if len(line) > _LONGEST_LINE or _NO_SENTENCE.match(line):
        return ""
    item = _ITEM.match(line)
    if item and (_PARAMETER.match(line, item.end()) or not _WORD.search(_LINK.sub("", line[item.end() :]))):
        return ""
    return _without_marks(line[item.end() :] if item else line)


def _without_marks(line: str) -> str:
    return _MARKS.sub("", _TAG.sub("", _LINK.sub(r"\1", line)))
