"""How wide a space is in the fonts of a PDF that have none.

TeX shows no spaces but moves on between words, and embeds only the characters that it shows. pypdf takes a move for a
space if it is wide beside the character in the place of a space, which is another one in such fonts: words run together
(https://github.com/py-pdf/pypdf/issues/3978).
"""

from typing import Any

from cde_retrievers.util.imports import imported

_WIDTH = 250  # of a space, in thousandths of the size of the font
_SPACE = 32
_UNUSED = 0xFFFF
_MAPPING = f"\n1 beginbfchar\n<{_UNUSED:04X}> <{_SPACE:04X}>\nendbfchar\n".encode()


class UsualSpaces:
    """Gives fonts without a space one of a usual width, in memory, each font once."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}

    def give(self, page: Any) -> None:
        """Give them to the fonts of a page of pypdf; what is damaged is left to pypdf."""
        resources = _dictionary(page.get("/Resources"))
        for entry in _dictionary(resources.get("/Font")).values():
            font = _dictionary(entry)
            if id(font) not in self._seen:
                self._seen[id(font)] = font
                _give_composite(font) if font.get("/Subtype") == "/Type0" else _give_simple(font)


def _give_composite(font: Any) -> None:
    """Map a character that no text has to the space; a space that is mapped already comes first and counts."""
    generic = imported("pypdf.generic", "reading PDF", extra="docs")
    descendants, mapping = _object(font.get("/DescendantFonts")), _object(font.get("/ToUnicode"))
    if not isinstance(mapping, generic.StreamObject) or not isinstance(descendants, list):
        return
    for entry in descendants:
        widths = _object(_dictionary(entry).get("/W", generic.ArrayObject()))
        if isinstance(widths, list):
            width = generic.ArrayObject([generic.NumberObject(_WIDTH)])
            _dictionary(entry)[generic.NameObject("/W")] = generic.ArrayObject(
                [*widths, generic.NumberObject(_UNUSED), width]
            )
    extended = generic.DecodedStreamObject()
    extended.set_data(mapping.get_data().replace(b"endcmap", _MAPPING + b"endcmap", 1))
    font[generic.NameObject("/ToUnicode")] = extended


def _give_simple(font: Any) -> None:
    """Change the width in the place of the space in fonts that list every character they have, and list none there."""
    generic = imported("pypdf.generic", "reading PDF", extra="docs")
    encoding, widths = _dictionary(font.get("/Encoding")), _object(font.get("/Widths"))
    first = _object(font.get("/FirstChar"))
    if "/BaseEncoding" in encoding or not isinstance(widths, list) or not isinstance(first, int):
        return
    listed = _listed(_object(encoding.get("/Differences")))
    place = _SPACE - first
    names = {*listed.values()}
    if "/e" in names and "/space" not in names and _SPACE not in listed and 0 <= place < len(widths):
        widths[place] = generic.NumberObject(_WIDTH)


def _listed(differences: Any) -> dict[int, Any]:
    """Return the names of characters by their code."""
    found, code = {}, 0
    for entry in differences if isinstance(differences, list) else ():
        if isinstance(entry, int):
            code = entry
        else:
            found[code] = entry
            code += 1
    return found


def _object(value: Any) -> Any:
    return value.get_object() if hasattr(value, "get_object") else value


def _dictionary(value: Any) -> Any:
    """Return a dictionary of the file, or an empty one for anything else."""
    found = _object(value)
    return found if isinstance(found, dict) else {}
