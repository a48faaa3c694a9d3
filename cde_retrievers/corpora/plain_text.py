"""Plain text as sections of paragraphs; a line underlined along its whole length is a title, and nothing else is."""

import re

from cde_retrievers.corpora.markdown import Block, Section, announcing

# An underline as long as the title is, give or take one: no fence and no rule is that by chance. With a line above, of
# any length, only what is no fence of AsciiDoc.
_TITLE = re.compile(
    r"(?:(?<=\n\n)|\A)(?P<over>(?P<first>[=*#])(?P=first){2,}\n)?"
    r"(?P<title>(?P<indent>[ ]*)\w[^\n]{0,200}(?<![\s:;,.]))[ \t]*\n"
    r"(?P<under>(?P<mark>[=\-~^*+#\"'`.:_])(?P=mark){2,})[ \t]*$",
    re.MULTILINE,
)
_BLANK = re.compile(r"^[^\S\n]+$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\S.*?(?=\n[^\S\n]*\n|\Z)", re.DOTALL)
_DEEPEST = 6


def plain_blocks(text: str) -> tuple[Block, ...]:
    """Return the paragraphs of a text that is not Markdown, as they are, with the indent of their first line."""
    starts = ((text.rfind("\n", 0, match.start()) + 1, match.end()) for match in _PARAGRAPH.finditer(text))
    return tuple(announcing([Block(text[start:end].rstrip()) for start, end in starts]))


def plain_sections(text: str) -> list[Section]:
    """Return the sections of a plain text, in order; the first is what stands before any title.

    The first underline that is met belongs to titles of the first level, the next other one to those below, and so on.
    """
    source = _BLANK.sub("", text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"))
    styles: list[tuple[str, bool]] = []
    above: list[tuple[int, str]] = []
    heading, level, begin, sections = None, 0, 0, []
    for found in _TITLE.finditer(source):
        if not _is_title(found):
            continue
        sections.append(_section(heading, level, above, source[begin : found.start()]))
        style = (found["mark"], found["over"] is not None)
        if style not in styles:
            styles.append(style)
        heading, level = " ".join(found["title"].split()), min(styles.index(style) + 1, _DEEPEST)
        above = [(at, name) for at, name in above if at < level] + [(level, heading)]
        begin = found.end()
    return [*sections, _section(heading, level, above, source[begin:])]


def _is_title(found: re.Match[str]) -> bool:
    width = len(found["title"])
    if found["over"] is not None:
        return found["over"].rstrip() == found["under"] and len(found["under"]) >= width
    return not found["indent"] and abs(len(found["under"]) - width) <= 1


def _section(heading: str | None, level: int, above: list[tuple[int, str]], text: str) -> Section:
    return Section(heading, text.strip(), tuple(name for _, name in above), level, plain_blocks(text))
