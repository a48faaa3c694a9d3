"""Numbers of things in words."""


def counted(number: int, noun: str) -> str:
    """Return a number of things, as in "1 file", "2,048 files" and "3 queries"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun[:-1]}ies" if noun.endswith("y") else f"{number:,} {noun}s"
