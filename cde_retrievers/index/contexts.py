"""Contexts in the directory of an index: each generation lists one, and finds it there by its fingerprint."""

from pathlib import Path

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.context.persistence import HEADER_FILE, VECTORS_FILE
from cde_retrievers.errors import ContextFileError
from cde_retrievers.index.manifest import Manifest
from cde_retrievers.index.ownership import CONTEXTS, SCRATCH, OwnedDirectory, checked_name
from cde_retrievers.index.symlinks import is_there, obstacle, own_folder
from cde_retrievers.storage.sync import sync_directory

_DIGITS = 16  # of the fingerprint, in the name of the context's directory


def read_context(directory: Path, manifest: Manifest) -> CorpusContext:
    """Read the context of a generation.

    Args:
        directory: directory of the index.
        manifest: the generation.

    Raises:
        ContextFileError: the context is missing or damaged, or another one lies in its place.
    """
    path = directory / context_name(directory, manifest)
    for name in (HEADER_FILE, VECTORS_FILE):
        wrong = obstacle(directory, CONTEXTS, path.name, name)
        if wrong is not None:
            raise ContextFileError(f"{wrong}; restore the context from a copy")
    context = CorpusContext.load(path)
    if (context.fingerprint, context.model_fingerprint) != (manifest.context, manifest.model_fingerprint):
        raise ContextFileError(
            f"{path} holds context {context.fingerprint} of model {context.model_fingerprint}, but the index was "
            f"built under {manifest.context} of model {manifest.model_fingerprint}; restore that from a copy"
        )
    return context


def context_name(directory: Path, manifest: Manifest) -> str:
    """Return where the context of a generation lies, relative to the directory and with slashes."""
    digits = manifest.context[:_DIGITS]
    name = checked_name(manifest.identity or "", digits)
    if not is_there(directory / CONTEXTS / name):
        name = digits  # as an earlier release called it
    return f"{CONTEXTS}/{name}"


def save_context(home: OwnedDirectory, context: CorpusContext) -> None:
    """Save the context of a generation that is about to begin; no manifest lists it yet."""
    name = checked_name(home.identity, context.fingerprint[:_DIGITS])
    target = own_folder(home.path / CONTEXTS) / name
    scratch = home.path / f"{SCRATCH}{home.new_name()}"
    try:
        scratch.mkdir()
        sync_directory(home.path)
        context.save(scratch / name)
        home.remove(target)
        (scratch / name).rename(target)
        sync_directory(target.parent)
    finally:
        home.remove(scratch)
