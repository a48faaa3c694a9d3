"""Markdown as sections of blocks, by CommonMark's rules and with GitHub's tables.

Left out is what says nothing: front matter, comments, anchors, definitions of links, rules, tables of contents.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from cde_retrievers.corpora.inline_html import block_text, without_anchors
from cde_retrievers.corpora.literal import restored

# A longer line is a text: as a heading it would be copied into the metadata of every part below it.
_LONGEST_HEADING = 1_000
_FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\n")
_SETTING = re.compile(r"[\w\"'.$-]+[ \t]*[:=].*")
_OF_SETTINGS = re.compile(r"[ \t].*|#.*|-(?:[ \t].*)?|\[.*\]|[\]})].*|")
_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*(?P<quote>[\"']?)(?P<title>[^\n]{1,1000}?)(?P=quote)[ \t]*$", re.MULTILINE)
_CONTENTS = re.compile(r"\s*(?:(?:[-*+]|\d{1,9}[.)])\s+)?\[[^\n]*\]\(#[^()\s]*\)\s*")
_ANNOUNCES = (":", "\uff1a")
_ASKS = ("?", "\uff1f")
_LONGEST_QUESTION = 300
_BOLD = re.compile(r"(\*\*|__)(?=\S)(?:(?!\1).){1,300}\1")
_CONTAINERS = ("bullet_list", "ordered_list", "list_item", "blockquote")

Lines = list[str | None]


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, a list, a quotation, a table or code.

    Attributes:
        text: of its lines.
        joint: the line ends between the block before and this one.
        inner: blocks of a list, an item or a quotation.
        frame: what begins and ends code or a table, and is repeated where its lines are cut apart.
        lines: between the frame's ends.
        is_item: whether it is an item of a list, whose beginning says what the rest is about.
        keep_with_next: whether it announces the block behind it, as a title does.
    """

    text: str
    joint: str = "\n\n"
    inner: tuple["Block", ...] = ()
    frame: tuple[str, str] | None = None
    lines: tuple[str, ...] = ()
    is_item: bool = False
    keep_with_next: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A heading's own text: from the heading to the next one of any level.

    Attributes:
        heading: the title, as it is shown; None before the first heading.
        text: heading and blocks.
        path: the titles of the sections that this one is in, and its own.
        level: 1 to 6; 0 without a heading.
        blocks: below the heading.
    """

    heading: str | None
    text: str
    path: tuple[str, ...] = ()
    level: int = 0
    blocks: tuple[Block, ...] = ()


def markdown_sections(text: str) -> list[Section]:
    """Return the sections of a Markdown text, in order; the first is what stands before any heading."""
    source = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    matter, title = _front_matter(source)
    source = "\n" * matter.count("\n") + source[len(matter) :]
    lines: Lines = list(source.split("\n"))
    tokens = _block_parser().parse(source)
    _clean(tokens, lines)
    lines = [line and restored(line) for line in lines]
    above = [] if title is None else [(0, title)]
    section, begin, sections = Section(None, "", path=tuple(name for _, name in above)), 0, []
    for position, token in enumerate(tokens):
        heading = _heading(token, tokens[position + 1]) if token.type == "heading_open" and token.level == 0 else None
        if heading is None:
            continue
        sections.append(_filled(section, tokens[begin:position], lines))
        level = int(token.tag[1])
        above = [(at, name) for at, name in above if at < level and (at or name != heading)] + [(level, heading)]
        section = Section(heading, _text(lines, token), tuple(name for _, name in above), level)
        begin = position + 3  # behind the title and the end of the heading
    return [*sections, _filled(section, tokens[begin:], lines)]


def heading_lines(text: str) -> list[tuple[int, int]]:
    """Return the first line of every heading outside of lists and quotations, and the line behind it; from 0."""
    return [
        (token.map[0], token.map[1])
        for token in _block_parser().parse(text.replace("\r\n", "\n").replace("\r", "\n"))
        if token.type == "heading_open" and token.level == 0 and token.map is not None
    ]


@cache
def _block_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


@cache
def _inline_parser() -> MarkdownIt:
    return MarkdownIt("commonmark")


def _front_matter(text: str) -> tuple[str, str | None]:
    """Return the front matter that a text begins with, and the title that it gives."""
    mark = _FRONT_MATTER.match(text)
    end = re.compile(rf"^{re.escape(mark[1])}[ \t]*$", re.MULTILINE).search(text, mark.end()) if mark else None
    if end is None:
        return "", None
    within = text[mark.end() : end.start()].split("\n") if mark else []
    settings = [line for line in within if _SETTING.fullmatch(line)]
    if not settings or any(not _SETTING.fullmatch(line) and not _OF_SETTINGS.fullmatch(line) for line in within):
        return "", None
    matter = text[: end.end()]
    title = _TITLE.search(matter)
    return matter, " ".join(title["title"].split()) or None if title else None


def _clean(tokens: Sequence[Token], lines: Lines) -> None:
    """Take comments and anchors out of the lines of paragraphs, and tags out of HTML."""
    for token in tokens:
        if token.map is None or token.type not in ("paragraph_open", "html_block"):
            continue
        found = _text(lines, token)
        if "<" in found:
            begin, end = token.map
            kept = block_text(found) if token.type == "html_block" else without_anchors(found)
            lines[begin:end] = [kept or None] + [None] * (end - begin - 1)


def _heading(token: Token, inline: Token) -> str | None:
    """Return the title as it is shown, or None if there is none or it is a text."""
    if len(inline.content) > _LONGEST_HEADING:
        return None
    [parsed] = _inline_parser().parseInline(inline.content)
    shown = (
        " " if part.type in ("softbreak", "hardbreak") else part.content
        for part in parsed.children or ()
        if part.type != "html_inline"
    )
    return " ".join(restored("".join(shown)).split()) or None


def _filled(section: Section, tokens: Sequence[Token], lines: Lines) -> Section:
    blocks = tuple(announcing(list(_blocks(tokens, lines))))
    text = "\n\n".join(filter(None, (section.text, *(block.text for block in blocks))))
    return replace(section, text=text, blocks=blocks)


def _blocks(tokens: Sequence[Token], lines: Lines) -> Iterator[Block]:
    """Yield the outermost blocks of the tokens that have a text."""
    position, last = 0, -1
    while position < len(tokens):
        first, inside = tokens[position], position + 1
        position = _behind(tokens, position)
        text = "" if first.type == "hr" or first.map is None else _text(lines, first).rstrip()
        if not text.strip() or (first.type.endswith("_list_open") and _is_contents(text)):
            continue
        begin, end = first.map or (0, 0)
        yield _block(text, "\n" if begin == last else "\n\n", first, tokens[inside : position - 1], lines)
        last = end if lines[end - 1] is None or str(lines[end - 1]).strip() else -1


def announcing(blocks: Sequence[Block]) -> Iterator[Block]:
    """Yield the blocks; what announces the next one stays with it."""
    for place, block in enumerate(blocks, 1):
        yield replace(block, keep_with_next=True) if place < len(blocks) and _announces(block) else block


def _announces(block: Block) -> bool:
    """Whether a paragraph or a single item ends with a colon, asks a question, or is bold as a whole."""
    if block.frame is not None or (block.inner and "\n" in block.text):
        return False
    if block.text.endswith(_ANNOUNCES):
        return True
    asks = block.text.rstrip("*_").endswith(_ASKS) and len(block.text) <= _LONGEST_QUESTION
    return asks or _BOLD.fullmatch(block.text) is not None


def _behind(tokens: Sequence[Token], position: int) -> int:
    """Return the position behind the block that begins there."""
    depth = 0
    for place in range(position, len(tokens)):
        depth += tokens[place].nesting
        if depth <= 0:
            return place + 1
    return len(tokens)


def _block(text: str, joint: str, token: Token, inner: Sequence[Token], lines: Lines) -> Block:
    kind = token.type.removesuffix("_open")
    if kind in _CONTAINERS:
        blocks = tuple(announcing(list(_blocks(inner, lines))))
        if kind != "list_item" or len(blocks) < 2 or blocks[0].inner or blocks[0].frame is not None:
            return Block(text, joint, inner=blocks)
        return Block(text, joint, inner=(replace(blocks[0], keep_with_next=True), *blocks[1:]), is_item=True)
    content = restored(token.content)
    # Text of a page that stands far to the right, in lists within lists, is not code for that.
    if kind == "fence" or (kind == "code_block" and content == token.content):
        fence = token.markup or "```"
        frame = (f"{fence}{token.info.rstrip()}\n", f"\n{fence}")
        return Block(text, joint, frame=frame, lines=tuple(content.rstrip("\n").split("\n")))
    if kind == "table":
        head, rule, *rows = text.split("\n")
        return Block(text, joint, frame=(f"{head}\n{rule}\n", ""), lines=tuple(rows))
    return Block(text, joint)


def _text(lines: Lines, token: Token) -> str:
    begin, end = token.map or (0, 0)
    return "\n".join(line for line in lines[begin:end] if line is not None)


def _is_contents(text: str) -> bool:
    """Whether every line of a list is a link to another place of the page."""
    return all(_CONTENTS.fullmatch(line) for line in text.split("\n") if line.strip())
