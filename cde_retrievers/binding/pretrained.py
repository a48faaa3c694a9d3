"""What the frameworks' classes for contextual models share: how the model is loaded, and how they are pickled."""

from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic import ConfigDict, Field

from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.encoder.backends.arithmetic import Backend, Precision
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.encoder.encoder import ContextualEncoder


class PretrainedMixin(ContextBoundMixin):
    """Arguments of `from_pretrained` as pydantic fields; it comes before the framework's context-bound class."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: Any
    variant: str | None = Field(default=None, description='Variant of a released model: "train" (default) or "hub".')
    device: str = Field(default="auto", description='The device: "auto", "cpu", "cuda", "cuda:1", "mps".')
    dtype: str = Field(
        default="auto", description='The number format: "auto" (float32 on a CPU), "float32", "bfloat16", "float16".'
    )
    backend: Backend | None = Field(
        default=None,
        description='The library that embeds texts: "torch", "onnx" or "openvino"; None for the exported one, else '
        "torch.",
    )
    precision: Precision = Field(default="auto", description='The backend\'s: "auto", "float32", "bfloat16" or "int8".')
    cache_folder: str | None = Field(default=None, description="The directory of downloads from the hub.")

    def _loader(self) -> Callable[[], Embedder]:
        others = {"model_name", *ContextBoundMixin.model_fields}
        settings = {name: getattr(self, name) for name in PretrainedMixin.model_fields if name not in others}
        return partial(ContextualEncoder.from_pretrained, self.model_name, **settings)

    def _pickled_settings(self, embedder: Embedder) -> dict[str, Any]:
        return {**super()._pickled_settings(embedder), "encoder": embedder}
