"""The 512 texts of the generic context, used while the corpus is unknown."""

import json
from importlib.resources import files

_TEXTS = "generic_texts.jsonl"


def generic_texts() -> tuple[str, ...]:
    """Return short texts on many subjects, in a fixed order.

    Source: freely redistributable documentation, dictionaries, literature and state papers. `data/NOTICE`, next to the
    texts, names each package and its licence; `benchmarks/generic_texts.py` chose them.

    Raises:
        FileNotFoundError: the package was installed without its data.
    """
    content = (files("cde_retrievers.context") / "data" / _TEXTS).read_text(encoding="utf-8")
    return tuple(json.loads(line)["text"] for line in content.splitlines())
