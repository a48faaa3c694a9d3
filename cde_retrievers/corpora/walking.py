"""Every file below a folder, each folder once: links and what is no file are told apart without being opened."""

import os
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cde_retrievers.corpora.paths import leads_out, special_kind
from cde_retrievers.errors import CorpusFileError


@dataclass(slots=True)
class Found:
    """What a folder holds, but for hidden files and folders.

    Attributes:
        files: relative to the folder, with "/", by name.
        left_out: by the same names, why an entry is none of them.
    """

    files: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Why how many entries are left out, and one of each kind."""
        examples = {reason: name for name, reason in sorted(self.left_out.items(), reverse=True)}
        counts = Counter(self.left_out.values())
        return "; ".join(f"{reason}: {counts[reason]}, such as {name}" for reason, name in sorted(examples.items()))


def walk(folder: Path, follow_links: bool) -> Found:
    """The files below the folder.

    Args:
        folder: which exists.
        follow_links: whether to read what links lead to. If not, a link to a folder and a link out of `folder` are left
            out.

    Raises:
        CorpusFileError: a folder cannot be read.
    """
    found = Found()
    # Links come last, so that what is below the folder has its own name there.
    pending, read = deque([""]), set()
    while pending:
        inside = pending.popleft()
        real = os.path.realpath(folder / inside)
        if real in read:
            found.left_out[inside] = "a link to a folder that is read already"
            continue
        read.add(real)
        for entry in _entries(folder / inside):
            name = f"{inside}/{entry.name}" if inside else entry.name
            reason = _why_not(entry, folder, follow_links)
            if reason is not None:
                found.left_out[name] = reason
            elif not entry.is_dir():
                found.files.append(name)
            elif entry.is_symlink():
                pending.append(name)
            else:
                pending.appendleft(name)
    found.files.sort()
    return found


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise CorpusFileError(
            f"{folder} cannot be read: {error.strerror}; change its permissions, or give another folder"
        ) from error


def _why_not(entry: os.DirEntry[str], folder: Path, follow_links: bool) -> str | None:
    """Why an entry is left out, or None."""
    try:
        special = special_kind(entry.stat().st_mode)
    except OSError:
        return "a link that leads nowhere" if entry.is_symlink() else "gone, or not to be looked at"
    if special is not None or follow_links or not entry.is_symlink():
        return special
    if entry.is_dir():
        return "a link to a folder"
    return "a link that leads out of the folder" if leads_out(Path(entry.path), folder) else None
