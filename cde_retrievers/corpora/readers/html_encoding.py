"""The encoding of HTML and XHTML: UTF-8, or else the one that a byte order mark or the page itself names."""

import codecs
import re

from cde_retrievers.corpora.decoding import read_text
from cde_retrievers.corpora.files import File
from cde_retrievers.errors import CorpusFileError

_HEAD = 1024  # bytes in which a page must name its encoding
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before the mark of UTF-16 that it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NAMED = re.compile(rb"""<(?:\?xml|meta)\b[^>]*?\b(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
# What browsers read under a name is often more than the standard of that name: https://encoding.spec.whatwg.org.
_AS_BROWSERS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
_OF_PAGES = re.compile("ascii|iso8859|cp|koi8|mac|tis|gb|hz|big5|shift_jis|euc|iso2022|johab")  # not "hex", say
_ESCAPE = "\x1b"  # ISO-2022-JP is written in ASCII, and so in UTF-8, with this between its scripts


def read_page(file: File, encoding: str, limit: int) -> str:
    """Return the text of a page.

    Args:
        file: of the page; opened a second time only if it is not UTF-8.
        encoding: "utf-8" for UTF-8 or, if it is not that, what the page names; any other is taken as it is.
        limit: the highest number of characters.

    Raises:
        CorpusFileError: as `read_text`; or the page names an encoding that is unknown.
    """
    may_differ = codecs.lookup(encoding).name == "utf-8"
    try:
        text = read_text(file, encoding, limit)
    except CorpusFileError as error:
        if not (may_differ and isinstance(error.__cause__, UnicodeError)):
            raise
        named = _named_in(file)
        if named is None:
            raise
        return read_text(file, named, limit)
    named = _named_in(file) if may_differ and _ESCAPE in text else None
    return text if named is None else read_text(file, named, limit)


def decoded_page(data: bytes) -> str:
    """Return the text of a page that is in memory, without a byte order mark.

    Raises:
        ValueError: it is neither UTF-8 nor what it names.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        named = named_encoding(data[:_HEAD])
        if named is None:
            raise
        return data.decode(named)


def named_encoding(head: bytes) -> str | None:
    """Return the encoding that the first bytes of a page name, as browsers take it; None if they name none but UTF-8.

    Raises:
        ValueError: Python does not know it, or no page can be in it.
    """
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    if marked is not None:
        return marked
    found = _NAMED.search(head)
    if found is None:
        return None
    label = found[1].decode("ascii", "replace")
    try:
        name = codecs.lookup(label.lower().removeprefix("x-").replace("windows-874", "cp874")).name
    except LookupError:
        name = ""
    if name.startswith("utf"):
        return None  # the name itself could be read, so the page is not UTF-16, and it was not UTF-8
    if not _OF_PAGES.match(name):
        raise ValueError(f"it names the encoding {label!r}, which is unknown")
    return _AS_BROWSERS.get(name, name)


def _named_in(file: File) -> str | None:
    try:
        with file.opened() as content:
            return named_encoding(content.read(_HEAD))
    except ValueError as error:
        raise CorpusFileError(
            f"{file.path} is not UTF-8 text, and {error}; convert it to UTF-8, or name its encoding, such as latin-1, "
            f"with encoding= (--encoding), or leave such files out with skip_errors=True (--skip-errors)"
        ) from error
