"""Model names as local directories: paths directly, other names through the Hugging Face hub's cache."""

from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from cde_retrievers.errors import CheckpointError
from cde_retrievers.model.config import ContextualConfig
from cde_retrievers.storage.atomic import recovered
from cde_retrievers.validation.signatures import validated

# Pickled weights and code are never fetched.
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


@validated
def local_folder(name_or_path: str | Path, cache_folder: str | Path | None = None) -> Path:
    """Return the directory of the model, downloaded first if it is a hub repository not yet in the cache.

    Raises:
        CheckpointError: there is neither such a directory nor an available repository of that name.
    """
    path = recovered(name_or_path)
    try:
        if path.is_dir():
            return path
        return Path(snapshot_download(str(name_or_path), allow_patterns=_FILES, cache_dir=cache_folder))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"model {str(name_or_path)!r} was not found: it is neither a directory here nor a repository that the "
            f"Hugging Face hub or its local cache could provide ({type(error).__name__}); check the name, go online "
            f"once, or give the path of a directory"
        ) from error


def hub_file(repository: str, name: str, wanted_in: Path, cache_folder: str | Path | None = None) -> Path:
    """Return the path of a hub repository's file that the model in `wanted_in` needs.

    Raises:
        CheckpointError: neither the hub nor its local cache has it; the message says where to put it.
    """
    try:
        return Path(hf_hub_download(repository, name, cache_dir=cache_folder))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{wanted_in} has no {name}, and the Hugging Face hub or its local cache could not provide that of "
            f"{repository} ({type(error).__name__}); go online once, or put {name} of {repository} into {wanted_in}"
        ) from error


def upload_folder(folder: Path, repository: str, private: bool = False, token: str | None = None) -> str:
    """Upload a directory to a hub repository, created if it does not exist; return the URL of the commit."""
    api = HfApi(token=token)
    api.create_repo(repository, private=private, exist_ok=True)
    commit = api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload contextual model")
    return str(commit.commit_url)


_CARD = """---
library_name: cde_retrievers
pipeline_tag: feature-extraction
tags:
- contextual-document-embeddings
- sentence-similarity
- retrieval
---

# {name}

A contextual embedding model (CDE; Morris and Rush, arXiv 2410.02525): documents and queries are embedded in the light
of a sample of the corpus they are searched in.

```python
from cde_retrievers import ContextualEncoder

encoder = ContextualEncoder.from_pretrained("{repository}")
context = encoder.fit_context(documents)
vectors = encoder.encode_documents(documents, context)
scores = encoder.encode_queries(queries, context) @ vectors.T
```

| | |
|---|---|
| backbone | {model_type}, {layers} layers, width {width} |
| conditioning | {conditioning} |
| context documents | {context_size} |
| tokens per text | {max_length} |
| query prompt | `{query_prompt}` |
| document prompt | `{document_prompt}` |
| fingerprint | `{fingerprint}` |
"""


def model_card(repository: str, config: ContextualConfig, fingerprint: str) -> str:
    """Return the model card in Markdown, with usage and settings."""
    conditioning = config.conditioning.model_dump()
    options = ", ".join(f"{name} {value}" for name, value in conditioning.items() if name != "kind")
    return _CARD.format(
        name=repository.split("/")[-1],
        repository=repository,
        model_type=config.backbone["model_type"],
        layers=config.backbone["num_hidden_layers"],
        width=config.backbone["hidden_size"],
        conditioning=f"{conditioning['kind']} ({options})" if options else conditioning["kind"],
        context_size=config.context_size,
        max_length=config.max_length,
        query_prompt=config.query_prompt,
        document_prompt=config.document_prompt,
        fingerprint=fingerprint,
    )
