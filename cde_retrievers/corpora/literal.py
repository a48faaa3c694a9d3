"""Text within Markdown that is not Markdown: its marks are replaced by noncharacters of Unicode until it is parsed.

Backslashes would do too, but would have to be taken out of every text that is shown, and they stand in code as well.
"""

import re

NOT_A_MARK = "\ufdd0"  # stands before what would begin a block
_STAND_INS = {mark: chr(0xFDD1 + place) for place, mark in enumerate("\\`*_[]<>&!|")}
_TO_STAND_INS = str.maketrans(_STAND_INS)
_MEANINGS = {stand_in: mark for mark, stand_in in _STAND_INS.items()}
_STAND_IN = re.compile("[\ufdd0-\ufdef]")
_BLOCK_START = re.compile(r"^(?=[ \t]*[#+=~:\d-])", re.MULTILINE)


def literal(text: str) -> str:
    """Return a text in which Markdown finds no marks, neither of blocks nor within lines."""
    return _BLOCK_START.sub(NOT_A_MARK, text.translate(_TO_STAND_INS))


def restored(text: str) -> str:
    """Return the text as it was before `literal`."""
    return _STAND_IN.sub(lambda found: _MEANINGS.get(found[0], ""), text)
