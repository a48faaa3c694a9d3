"""What is left of a directory whose replacement was killed between two renames, where none can exchange them."""

import json
import shutil
from pathlib import Path

from cde_retrievers.storage.scratch import NEW, OLD, _prefix


def killed_between_renames(path: Path) -> Path:
    """Move a directory away as such a save of it leaves it, and return where the save kept both versions."""
    scratch = path.parent / f"{_prefix(path)}abcdefgh"
    scratch.mkdir()
    (scratch / "record.json").write_text(json.dumps({"made_by": "cde_retrievers", "target": path.name}))
    shutil.copytree(path, scratch / OLD)
    path.rename(scratch / NEW)
    return scratch
