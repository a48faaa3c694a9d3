"""What a page is about: its title, unless a heading says the same or it names the site alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from cde_retrievers.corpora.literal import literal, restored

_NO_WORD = re.compile(r"[\W_]+")
_SEPARATOR = re.compile(r"\s[-|:\u00b7\u2013\u2014\u00ab\u00bb]\s|:\s|\s*[|\u2014]\s*")
_NAMELESS = {"", "no title", "untitled", "untitled document", "unknown"}
_SITE = 'meta[property="og:site_name"], meta[name="application-name"]'
_HOME = 'a[rel~="home"], a[href="/"], a[href$="index.html"]'
_DEEPEST = 6
_LONGEST = 1_000  # characters; more is a text


class Heading(NamedTuple):
    """A heading of a page, and its place among the blocks."""

    level: int
    title: str
    place: int


def page_title(page: Any) -> str:
    """Return the title of a parsed page; nothing if it has none, or one that says nothing."""
    found = page.css_first("head > title")
    title = " ".join(found.text().split()) if found is not None else ""
    return "" if _words(title) in _NAMELESS or len(title) > _LONGEST else title


def site_names(page: Any) -> set[str]:
    """Return what a page calls its site: in its metadata, and in links to the site's first page."""
    named = {node.attributes.get("content") or "" for node in page.css(_SITE)}
    return {_words(name) for name in (*named, *(link.text(deep=True) for link in page.css(_HOME)))} - {""}


def titled(blocks: list[str], headings: Sequence[Heading], title: str, sites: set[str]) -> list[str]:
    """Return the blocks of a page below its title.

    The heading that says the title stands above all others; if there is none, the title does. A page with one heading
    of the first level, above all others, is called by that if the title names the site alone.
    """
    if not title:
        return blocks
    head = _head(headings, title, sites)
    shift = 1 if any(heading.level == 1 and heading is not head for heading in headings) else 0
    found = list(blocks)
    for heading in headings:
        level = 1 if heading is head else min(heading.level + shift, _DEEPEST)
        found[heading.place] = f"{'#' * level} {literal(heading.title)}"
    if head is not None and head is headings[0]:
        return [found.pop(head.place), *found]  # what stands above it is of this page too
    if head is not None:
        return found
    if found and (not headings or headings[0].place > 0) and restored(found[0]) == title:
        del found[0]
    return [f"# {literal(title)}", *found]


def _head(headings: Sequence[Heading], title: str, sites: set[str]) -> Heading | None:
    """Return the heading that the whole page stands below, if it has one."""
    if not headings:
        return None
    first, of_first_level = headings[0], [heading for heading in headings if heading.level == 1]
    if of_first_level == [first] and (_words(title) in sites or _says(title, first.title)):
        return first
    if _names(first, title, len(of_first_level)):
        return first
    named = _words(title)
    return next((heading for heading in headings if _words(heading.title) == named), None)


def _names(heading: Heading, title: str, of_first_level: int) -> bool:
    """Whether a page's first heading is its title, with the site's name before or behind it in the title.

    Where it is one of several of the first level, it may be the first of their topics.
    """
    if of_first_level < 2:
        return _is_in(heading.title, title)
    return any(_words(heading.title) == _words(part) for part in (title, *_SEPARATOR.split(title)))


def _says(title: str, heading: str) -> bool:
    """Whether one of them holds the other."""
    return _is_in(heading, title) or _is_in(title, heading)


def _is_in(short: str, long: str) -> bool:
    words = _words(short)
    return bool(words) and f" {words} " in f" {_words(long)} "


def _words(text: str) -> str:
    return _NO_WORD.sub(" ", text.casefold()).strip()
