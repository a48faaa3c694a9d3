"""The complete checkpoints of a run. The Trainer writes a checkpoint file by file, and then we write a marker.

The marker names every file with its size and its SHA-256. The sizes tell an unfinished checkpoint; the SHA-256 are
checked before a checkpoint is read.
"""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cde_retrievers.errors import TrainingError
from cde_retrievers.storage.atomic import replace_json
from cde_retrievers.storage.checked_json import read_checksummed, read_json, sealed
from cde_retrievers.storage.checksums import FileName, Sha256, check_files, sha256_of_files
from cde_retrievers.storage.sync import sync_directory, sync_tree

logger = logging.getLogger(__name__)

MARKER = "complete.json"
_PREFIX = "checkpoint-"
RunIdentity = dict[str, Any]
_VERSION = 1
_REMEDY = "delete the checkpoint"


class _Marker(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    files: dict[FileName, int]
    run: RunIdentity
    sha256: dict[FileName, Sha256] = Field(default_factory=dict)


def mark_complete(checkpoint: Path, identity: RunIdentity) -> None:
    """Write the marker: the run's identity, and the size and SHA-256 of every file.

    Args:
        checkpoint: its directory, completely written.
        identity: JSON values that a run which continues from it must share.
    """
    # The files reach the device before the marker does, and the marker before an older checkpoint is deleted.
    sync_tree(checkpoint)
    sync_directory(checkpoint.parent)
    digests = sha256_of_files(checkpoint, leave_out=(MARKER,))
    sizes = {name: (checkpoint / name).stat().st_size for name in digests}
    content = {"files": sizes, "run": json.loads(json.dumps(identity)), "sha256": digests}
    replace_json(checkpoint / MARKER, sealed(content, _VERSION))


def unmark(checkpoint: Path) -> None:
    """Remove the marker, before files of the checkpoint are replaced or deleted."""
    (checkpoint / MARKER).unlink(missing_ok=True)
    sync_directory(checkpoint)


def is_complete(checkpoint: Path) -> bool:
    """Whether the marker exists and every file has the size it states."""
    try:
        sizes = _read_marker(checkpoint).files
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, TrainingError):
        return False


def check_undamaged(checkpoint: Path, folder: Path) -> None:
    """Refuse a complete checkpoint if a file was changed or added.

    Checkpoints of earlier releases have no checksums and are accepted.

    Args:
        checkpoint: its directory.
        folder: the run's output directory.

    Raises:
        TrainingError: a file was changed or added; names it, and the checkpoint to continue from.
    """
    checksums = _read_marker(checkpoint).sha256
    if checksums:
        check_files(checkpoint, checksums, TrainingError, _way_on(checkpoint, folder))


def _way_on(damaged: Path, folder: Path) -> str:
    others = [path for path in checkpoints_in(folder) if path.resolve() != damaged.resolve() and is_complete(path)]
    if not others:
        return f"there is no other checkpoint, so delete {damaged} and begin again"
    return f"delete {damaged} to continue from {others[-1]}, or name another one with resume_from_checkpoint"


def _read_marker(checkpoint: Path) -> _Marker:
    """Read the marker.

    Raises:
        FileNotFoundError: the marker does not exist.
        TrainingError: it is damaged.
    """
    path = checkpoint / MARKER
    content = read_json(path, TrainingError, _REMEDY)
    if not isinstance(content, dict) or content.keys() != {"files", "run"}:  # the layout of earlier releases
        content = read_checksummed(path, TrainingError, _REMEDY, _VERSION)
    try:
        return _Marker(**content)
    except ValidationError as error:
        raise TrainingError(f"{path} is damaged ({error.error_count()} wrong entries); {_REMEDY}") from error


def checkpoints_in(folder: Path) -> list[Path]:
    """Directories of checkpoints, complete or not, in the order of their steps."""
    found = [path for path in folder.glob(f"{_PREFIX}*") if path.is_dir() and _step(path) is not None]
    return sorted(found, key=lambda path: _step(path) or 0)


def newest_complete(folder: Path) -> Path | None:
    """The last complete checkpoint, or None."""
    return next((path for path in reversed(checkpoints_in(folder)) if is_complete(path)), None)


def starting_point(folder: Path, resume: str | Path | bool | None, identity: RunIdentity) -> Path | None:
    """The checkpoint that a run continues from; None to start from the beginning.

    Args:
        folder: the run's output directory.
        resume: a checkpoint's directory, True for the newest complete one, or None or False for the beginning.
        identity: of the run; a checkpoint with another one would continue with other batches.

    Raises:
        TrainingError: the checkpoint is missing, incomplete, damaged or of another run; or a new run would be mixed
            with checkpoints of an earlier one.
    """
    if resume is None or resume is False:
        _refuse_to_mix(folder)
        return None
    chosen = _newest(folder) if resume is True else _whole(Path(str(resume)), folder)
    check_undamaged(chosen, folder)
    _check_identity(chosen, identity)
    return chosen


def check_start(folder: Path, *, resume: bool) -> None:
    """Raise TrainingError if `starting_point` would, whatever the run: there is nothing to resume, or too much."""
    if resume:
        _newest(folder)
    else:
        _refuse_to_mix(folder)


def _refuse_to_mix(folder: Path) -> None:
    found = newest_complete(folder)
    if found is not None:
        raise TrainingError(
            f"{folder} already holds {found.name} of an earlier run; continue with resume_from_checkpoint=True, or "
            f"give another output_dir"
        )


def _whole(checkpoint: Path, folder: Path) -> Path:
    if not is_complete(checkpoint):
        newest = newest_complete(folder)
        known = f"the newest complete one is {newest}" if newest else f"{folder} has none that is"
        raise TrainingError(f"{checkpoint} is not a complete checkpoint; {known}")
    return checkpoint


def _newest(folder: Path) -> Path:
    newest = newest_complete(folder)
    if newest is None:
        broken = ", ".join(path.name for path in checkpoints_in(folder)) or "none"
        raise TrainingError(
            f"{folder} has no complete checkpoint to resume from (incomplete: {broken}); leave resume_from_checkpoint "
            f"out to begin again"
        )
    for later in checkpoints_in(folder):
        if (_step(later) or 0) > (_step(newest) or 0):
            logger.warning("%s is incomplete and is skipped", later)
    logger.info("resuming from %s, the newest complete checkpoint", newest)
    return newest


def _check_identity(checkpoint: Path, identity: RunIdentity) -> None:
    saved = _read_marker(checkpoint).run
    now = json.loads(json.dumps(identity))
    different = sorted(name for name in saved.keys() | now.keys() if saved.get(name) != now.get(name))
    if different:
        shown = "; ".join(f"{name} was {saved.get(name)!r}, is {now.get(name)!r}" for name in different)
        raise TrainingError(
            f"{checkpoint} belongs to another run ({shown}); resume it with its own settings, or start in another "
            f"output_dir"
        )


def delete_old(folder: Path, limit: int | None, best: str | None) -> None:
    """Delete all complete checkpoints but the newest `limit` and the best one. Incomplete ones stay."""
    if limit is None or limit < 1:
        return
    whole = [path for path in checkpoints_in(folder) if is_complete(path)]
    kept = {path.resolve() for path in whole[-limit:]} | ({Path(best).resolve()} if best else set())
    for path in whole:
        if path.resolve() not in kept:
            logger.info("deleting %s: save_total_limit is %d", path, limit)
            unmark(path)  # first, so that a half-deleted one does not count as complete
            shutil.rmtree(path)


def _step(checkpoint: Path) -> int | None:
    number = checkpoint.name.removeprefix(_PREFIX)
    return int(number) if number.isdigit() else None
