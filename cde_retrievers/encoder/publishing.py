"""Writing a model and its tokenizer: to a directory, in the published layout, or to the hub."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from cde_retrievers.encoder.backends.exports import is_export
from cde_retrievers.encoder.backends.record import EXPORT_FOLDER, export_checksums
from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.errors import CheckpointError
from cde_retrievers.model.checkpoints import is_own_layout
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.model.hub import model_card, upload_folder
from cde_retrievers.model.released import is_published_folder, published_files
from cde_retrievers.storage.atomic import atomic_directory
from cde_retrievers.storage.checksums import CHECKSUMS_FILE, write_checksums
from cde_retrievers.storage.disk_errors import disk_errors_explained
from cde_retrievers.storage.hashing import sha256_of_json


def save_model(
    path: str | Path,
    model: ContextualModel,
    tokenizer: TextTokenizer,
    write_export: Callable[[Path], None] | None = None,
) -> None:
    """Write model and tokenizer into the directory `path`, whole or not at all; errors as in `ContextualEncoder.save`.

    Args:
        path: of the directory.
        model: the two stages.
        tokenizer: the model's.
        write_export: writes the model for another backend into a folder; None to leave that out.
    """
    with atomic_directory(path, is_own_layout, may_go=_is_former_export) as directory:
        model.write_files(directory)
        tokenizer.save(directory)
        if write_export is not None:
            (directory / EXPORT_FOLDER).mkdir()
            write_export(directory / EXPORT_FOLDER)
        write_checksums(directory)


def _is_former_export(entry: Path) -> bool:
    """Whether an entry of a saved model is the export of its former weights and nothing else, or a file of it."""
    if entry.name == EXPORT_FOLDER and is_export(entry):
        return {path.name for path in entry.iterdir()} <= _exported_files(entry)
    return (
        entry.parent.name == EXPORT_FOLDER and is_export(entry.parent) and entry.name in _exported_files(entry.parent)
    )


def _exported_files(export: Path) -> set[str]:
    try:
        return {*export_checksums(export), CHECKSUMS_FILE}
    except CheckpointError:  # whose files they are cannot be told
        return set()


def save_published_model(path: str | Path, model: ContextualModel, tokenizer: TextTokenizer) -> None:
    """Write model and tokenizer in the published layout; errors as in `ContextualEncoder.export_published_layout`."""
    published_files(model.config)  # raises before anything is written
    with atomic_directory(path, is_published_folder) as directory:
        model.write_published_files(directory)
        tokenizer.save(directory)
        write_checksums(directory)


def upload_model(
    repository: str, model: ContextualModel, tokenizer: TextTokenizer, private: bool, token: str | None
) -> str:
    """Upload the files of `save_model`, with a model card that names the fingerprint, to the Hugging Face hub.

    Returns:
        The URL of the commit.
    """
    fingerprint = sha256_of_json([model.fingerprint(), tokenizer.fingerprint()])
    with TemporaryDirectory() as scratch, disk_errors_explained(Path(scratch), "nothing was uploaded"):
        folder = Path(scratch) / "model"
        save_model(folder, model, tokenizer)
        (folder / "README.md").write_text(model_card(repository, model.config, fingerprint), encoding="utf-8")
        return upload_folder(folder, repository, private, token)
