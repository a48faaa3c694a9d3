"""Do parts by headings find more? Earlier rules (until 0.1: words counted, own heading only) against the present ones.

A query is the heading of a section, as it is typed by people who know what they look for, and a hit is right if it
holds the words that the section begins with; so no way of splitting decides what is right. Earlier parts had the
heading at the start of the first part of a section too. The heading is in the text under both rules, which favours
words over vectors. Nothing was chosen by these figures.

    python benchmarks/splitting.py --docs /usr/share/doc/nodejs/api --out benchmarks/results/splitting.json
"""

import argparse
import json
import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cde_retrievers import ContextualEncoder
from cde_retrievers.corpora import Corpus, ReadOptions
from cde_retrievers.corpora.markdown import Section, markdown_sections
from cde_retrievers.index import ContextualIndex, Document

QUERIES, FILES, BEGINNING, DEPTH = 300, 8, 12, 10
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_PARAGRAPH = re.compile(r"\S.*?(?=\n[^\S\n]*\n|\Z)", re.DOTALL)
_COUNTED = re.compile(r"[^\W_]+|[^\w\s]|_")


def earlier_parts(text: str, max_words: int = 150) -> Iterator[str]:
    """Yield the parts by the earlier rules: paragraphs of a section, packed by words and punctuation marks."""
    section, fence, sections = [], None, []
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if mark and fence in (None, mark[1]):
            fence = mark[1] if fence is None else None
        if fence is None and _HEADING.match(line):
            sections.append("".join(section))
            section = []
        section.append(line)
    for found in (*sections, "".join(section)):
        group: list[str] = []
        for paragraph in (match[0] for match in _PARAGRAPH.finditer(found)):
            if group and sum(len(_COUNTED.findall(each)) for each in (*group, paragraph)) > max_words:
                yield "\n\n".join(group)
                group = []
            group.append(paragraph)
        if group:
            yield "\n\n".join(group)


def squeezed(text: str) -> str:
    """Return the words of a text alone."""
    return " ".join(re.findall(r"\w+", text.lower()))


def judged(sections: list[Section], chance: random.Random) -> list[tuple[str, str]]:
    """Headings that one section alone has, each with the words that its text begins with."""
    found: dict[str, list[str]] = {}
    for section in sections:
        if section.heading:
            body = squeezed(section.blocks[0].text) if section.blocks else ""
            found.setdefault(squeezed(section.heading), []).append(" ".join(body.split()[:BEGINNING]))
    known = [(heading, begin[0]) for heading, begin in sorted(found.items()) if len(begin) == 1]
    fitting = [(heading, begin) for heading, begin in known if len(begin.split()) == BEGINNING]
    return chance.sample(fitting, min(QUERIES, len(fitting)))


def measured(documents: list[Document], queries: list[tuple[str, str]], encoder: ContextualEncoder) -> dict[str, Any]:
    """Return lengths of the parts, and how often the right one is found."""
    texts = [squeezed(document.text) for document in documents]
    lengths = [len(text.split()) for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        index = ContextualIndex.build(documents, encoder, f"{folder}/index", show_progress=False)
        found = {}
        for mode in ("dense", "hybrid"):
            ranks = []
            for query, begin in queries:
                hits = index.search(query, k=DEPTH, mode=mode)
                ranks.append(next((rank for rank, hit in enumerate(hits, 1) if begin in squeezed(hit.text)), 0))
            found[mode] = {
                "hit@1": round(float(np.mean([rank == 1 for rank in ranks])), 3),
                f"hit@{DEPTH}": round(float(np.mean([rank > 0 for rank in ranks])), 3),
                "mrr": round(float(np.mean([1 / rank if rank else 0 for rank in ranks])), 3),
            }
    return {
        "parts": len(texts),
        "median_words": float(np.median(lengths)),
        "under_five_words": sum(length < 5 for length in lengths),
        **found,
    }


def compared(folder: Path, encoder: ContextualEncoder) -> dict[str, Any]:
    """Return the measures under both rules."""
    pages = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))]
    queries = judged([section for page in pages for section in markdown_sections(page)], random.Random(0))
    earlier = [Document(part) for page in pages for part in earlier_parts(page)]
    present = list(Corpus(folder, ReadOptions(split="headings", skip_empty=True), tokens=encoder))
    return {
        "files": len(pages),
        "queries": len(queries),
        "earlier": measured(earlier, queries, encoder),
        "present": measured(present, queries, encoder),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", type=Path, required=True, help="folder of Markdown files")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    encoder = ContextualEncoder.from_pretrained("minilm", "cpu", "float32")
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(options.docs.glob("*.md"))
        for path in chance.sample(files, min(FILES, len(files))):
            (Path(folder) / path.name).write_bytes(path.read_bytes())
        result = {"documentation": options.docs.name, "model": "minilm", **compared(Path(folder), encoder)}
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
