"""A sentence-transformers module over one contextual encoder and one context.

Axes: B texts of a batch, L tokens, W width.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules import InputModule
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import CheckpointError, ConfigurationError
from cde_retrievers.st.persistence import read_parts, requested_dtype, write_parts
from cde_retrievers.validation.texts import checked_texts


class ContextualModule(InputModule):
    """A contextual encoder under one context, as the first module of a `SentenceTransformer`.

    Example:
        ```python
        module = ContextualModule(encoder, context)
        model = SentenceTransformer(modules=[module], prompts=module.prompts, similarity_fn_name="cosine")
        documents = model.encode_document(texts)  # or encode(texts, prompt_name="document")
        queries = model.encode_query(["how do I ..."])  # or encode(..., prompt_name="query")
        ```

    Prompts: sentence-transformers puts them before the texts, the module adds none. So `encode(texts)` without a
    `prompt_name` embeds the bare texts, which is neither a query nor a document to a model that has prompts.

    Weights: they stay the encoder's. No gradient flows into the module, but modules after it can be trained.
    `model.to(device)` gives it an encoder of its own there and leaves the one given where it is. `model.half()` changes
    nothing: the number format is chosen with the encoder, and embeddings are float32.

    Files: `model.save(path)` writes `encoder/` and `context/` next to the library's own files. As of 6.0
    sentence-transformers imports no module class from outside its package without `trust_remote_code=True`, from local
    directories too, though the class comes from this installed package and no code is in the directory. The flag lets
    the directory name the class to load; without it, `ContextualModule.load(path)` reads the same files.

    Args:
        encoder: shared freely.
        context: fitted by that encoder's model; for another one, make another module.

    Raises:
        ContextMismatchError: another model fitted the context.
    """

    place: nn.Parameter

    def __init__(self, encoder: ContextualEncoder, context: CorpusContext) -> None:
        super().__init__()
        context.check_model(encoder.fingerprint, encoder.name)
        self.encoder = encoder
        self.context = context
        self.place = _place(encoder.device)

    @property
    def prompts(self) -> dict[str, str]:
        """The prompts to pass to `SentenceTransformer(prompts=...)`."""
        return {"query": self.encoder.config.query_prompt, "document": self.encoder.config.document_prompt}

    @property
    def max_seq_length(self) -> int:
        """Tokens per text, prompt and special tokens included; the rest of a text is cut.

        Raises:
            ConfigurationError: on setting it.
        """
        return self.encoder.config.max_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        raise ConfigurationError(
            f"texts are cut at {self.max_seq_length} tokens, with which the context was fitted; for {value}, make an "
            f"encoder with max_length={value}, and fit its context"
        )

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """A copy of the model's tokenizer, as transformers has it; it cuts nothing unless asked to.

        Raises:
            ConfigurationError: on setting it.
        """
        backend = Tokenizer.from_str(self.encoder.tokenizer.backend_tokenizer.to_str())
        backend.no_truncation()
        pad = backend.id_to_token(self.encoder.config.backbone["pad_token_id"] or 0)
        return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=self.max_seq_length, pad_token=pad)

    @tokenizer.setter
    def tokenizer(self, value: object) -> None:
        raise ConfigurationError(
            "the tokenizer belongs to the encoder, with which the context was fitted; make an encoder with another "
            "one, and fit its context"
        )

    def get_embedding_dimension(self) -> int:
        """W, the length of an embedding."""
        return self.encoder.width

    def on_model_ready(self, model: BaseModel) -> None:
        """Called by sentence-transformers once `model` is complete.

        Raises:
            ConfigurationError: `model` was not given the prompts, without which its vectors would be wrong.
        """
        missing = [name for name, prompt in self.prompts.items() if prompt and not model.prompts.get(name)]
        if missing:
            raise ConfigurationError(
                f"the model's prompts for {' and '.join(missing)} were not given to SentenceTransformer; "
                f"pass prompts=module.prompts"
            )

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Tensor]:
        """B texts -> `input_ids` and `attention_mask`, each (B, L).

        Raises:
            InvalidTextError: an item is not a text.
        """
        known = [(prompt or "") + text for text in checked_texts(inputs)]
        input_ids, attention_mask = self.encoder.tokenize(known)
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(self, features: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """Adds `sentence_embedding`, (B, W) float32 unit rows, to `input_ids` and `attention_mask`, each (B, L).

        Raises:
            ConfigurationError: later, if `token_embeddings` are read, as by `encode(output_value="token_embeddings")`.
        """
        embed = self.encoder.forward_under(self.context)
        tokens = (features[name].to(self.encoder.device) for name in ("input_ids", "attention_mask"))
        return _Features({**features, "sentence_embedding": embed(*tokens)})

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write `encoder/` and `context/` into the directory; weights as safetensors always.

        Raises:
            PathInUseError: one of them is there and holds something else.
        """
        write_parts(Path(output_path), self.encoder, self.context)

    @classmethod
    def load(
        cls,
        model_name_or_path: str | Path,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Read what `save` wrote, from a directory or a hub repository; onto the best device, as encoders are.

        Of `model_kwargs` only `dtype` is used, as in `ContextualEncoder.from_pretrained`.

        Raises:
            CheckpointError: encoder or context are not there, or the encoder is damaged.
            ConfigurationError: a setting that encoders do not have was given.
            ContextFileError: the context is damaged, or was edited.
            ContextMismatchError: the context is another model's.
        """
        dtype = requested_dtype(init_defaults=init_defaults, **kwargs)
        name = str(model_name_or_path)
        try:
            folder = cls.load_dir_path(name, subfolder, token, cache_folder, revision, local_files_only)
        except OSError as error:
            raise CheckpointError(f"{name} cannot be read ({error.strerror}); give the path of a directory") from error
        return cls(*read_parts(Path(folder or name), dtype))

    def get_config_dict(self) -> dict[str, Any]:
        """The text shown by `repr`."""
        return {"model": self.encoder.name, "context": self.context, "max_seq_length": self.max_seq_length}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # What `to`, `cuda`, `half` and the like come down to. An encoder may be shared, so it is never changed.
        device = fn(self.place.detach()).device
        if device != self.place.device:
            self.encoder = self.encoder.on(device)
            self.place = _place(device)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Encoder and context never change.
        return type(self)(self.encoder, self.context)

    def __reduce__(self) -> tuple[Any, ...]:
        raise ConfigurationError(
            "a ContextualModule cannot be sent to other processes, so encode() takes one device; "
            "save the model, and load it in each process"
        )


class _Features(dict[str, Tensor]):
    """Features of a batch, without those of each token."""

    def __missing__(self, name: str) -> Tensor:
        if name == "token_embeddings":
            raise ConfigurationError(
                "a ContextualModule embeds whole texts: under a context a token has no embedding of its own; leave "
                "output_value out"
            )
        raise KeyError(name)


def _place(device: torch.device) -> nn.Parameter:
    """An empty parameter: from a module's first one sentence-transformers tells where, and as what, it computes."""
    return nn.Parameter(torch.empty(0, device=device), requires_grad=False)
