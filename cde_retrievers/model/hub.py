"""Model names to local directories: a path as it is, anything else through the Hugging Face hub's cache."""

from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from cde_retrievers.atomic import recovered
from cde_retrievers.errors import CheckpointError
from cde_retrievers.paths import checked_path

# No pickled weights and no code is ever fetched.
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


def local_folder(name_or_path: str | Path, cache_folder: str | Path | None = None) -> Path:
    """The directory that holds the model, downloaded first if it is a hub repository not yet in the cache.

    Raises:
        CheckpointError: there is no such directory, nor a repository of that name within reach.
    """
    path = recovered(checked_path(name_or_path))
    try:
        if path.is_dir():
            return path
        return Path(snapshot_download(str(name_or_path), allow_patterns=_FILES, cache_dir=cache_folder))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"no model {str(name_or_path)!r}: it is neither a directory here nor a repository that the Hugging "
            f"Face hub or its local cache could give ({type(error).__name__}); check the name, go online once, or "
            f"give the path of a directory"
        ) from error


def hub_file(repository: str, name: str, wanted_in: Path, cache_folder: str | Path | None = None) -> Path:
    """One file of a hub repository that the model in `wanted_in` needs.

    Raises:
        CheckpointError: neither the hub nor its local cache could give it; says where to put it.
    """
    try:
        return Path(hf_hub_download(repository, name, cache_dir=cache_folder))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{wanted_in} has no {name}, and the Hugging Face hub or its local cache could not give that of "
            f"{repository} ({type(error).__name__}); go online once, or put {name} of {repository} into {wanted_in}"
        ) from error


def upload_folder(folder: Path, repository: str, private: bool = False, token: str | None = None) -> str:
    """Upload a directory to a hub repository, made if it does not exist; returns the address of the commit."""
    api = HfApi(token=token)
    api.create_repo(repository, private=private, exist_ok=True)
    commit = api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload contextual model")
    return str(commit.commit_url)
