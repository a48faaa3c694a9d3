"""The training step as one module: tokens in, loss out."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.training.distributed import gathered
from cde_retrievers.training.losses.contrastive import ContrastiveLoss, LossReport
from cde_retrievers.training.losses.two_stage import check_chunk_size, embeddings_under, first_stage_vectors


class ContrastiveModel(nn.Module):
    """Both stages of a model under a contrastive loss, for `transformers.Trainer` and `DistributedDataParallel`.

    Two-stage gradient caching and the sharing of documents between processes happen inside its forward pass and an
    ordinary backward pass.

    Args:
        model: the model to train, in place.
        loss: `ContrastiveLoss()` if None.
        chunk_size: texts in memory at a time (`two_stage_embeddings`); None for the plain graph.
        sequence_dropout: in training, the probability with which the null vector replaces a context vector (paper,
            section 4.2: 0.005). At 0 the null vector is not trained.
        train_first_stage: if False the first stage is frozen, in evaluation mode.

    Raises:
        ConfigurationError: a setting is out of range or does not fit the model.
    """

    def __init__(
        self,
        model: ContextualModel,
        loss: ContrastiveLoss | None = None,
        *,
        chunk_size: int | None = None,
        sequence_dropout: float = 0.0,
        train_first_stage: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = ContrastiveLoss() if loss is None else loss
        self.loss.check_width(model.width)
        check_chunk_size(chunk_size)
        model.second_stage.check_sequence_dropout(sequence_dropout)
        self.chunk_size = chunk_size
        self.sequence_dropout = sequence_dropout
        self.train_first_stage = train_first_stage
        self._freeze_what_is_not_trained()
        _forgive_shared_weights(self)

    def _freeze_what_is_not_trained(self) -> None:
        """Mark parameters that get no gradient: `DistributedDataParallel` would wait for it."""
        second_stage = self.model.second_stage
        if not self.train_first_stage:
            first = {id(parameter) for parameter in self.model.first_stage.parameters()}
            if first & {id(parameter) for parameter in second_stage.parameters()}:
                raise ConfigurationError(
                    "under whitening the first stage also embeds the texts, so nothing would be left to train; leave "
                    "train_first_stage at True"
                )
            self.model.first_stage.requires_grad_(False)
        if self.sequence_dropout == 0 and second_stage.null_vector is not None:
            second_stage.null_vector.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; a frozen first stage stays in evaluation mode, without dropout."""
        super().train(mode)
        if not self.train_first_stage:
            self.model.first_stage.eval()
        return self

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """Recompute activations layer by layer in both backbones; `transformers.Trainer` calls this.

        Args:
            activation_checkpointing_kwargs: for `torch.utils.checkpoint.checkpoint`.
            options: further ones of the same method of transformers' models.

        Raises:
            ConfigurationError: `use_reentrant` is True.
        """
        checkpoint_activations(self.model, activation_checkpointing_kwargs or {}, **options)

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """`activation_checkpointing_enable` under its earlier name in transformers."""
        self.activation_checkpointing_enable(gradient_checkpointing_kwargs, **options)

    def forward(
        self,
        *,
        query_input_ids: Tensor,
        query_attention_mask: Tensor,
        document_input_ids: Tensor,
        document_attention_mask: Tensor,
        excluded: Tensor | None = None,
        context_input_ids: Tensor | None = None,
        context_attention_mask: Tensor | None = None,
        context_vectors: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss of one step. Axes: B queries and M documents of this process, R processes, N context documents,
        W width, L tokens.

        The context is given as tokens or as vectors; a model that reads none (whitening with power 0) needs neither.

        Args:
            query_input_ids: right-padded token ids (B, L).
            query_attention_mask: their mask.
            document_input_ids: (M, L): the positives in the order of the queries, then the hard negatives of each.
            document_attention_mask: their mask.
            excluded: bool (B, R * M), True for documents that do not count as negatives of a query.
            context_input_ids: (N / R, L): this process's share of the context documents.
            context_attention_mask: their mask.
            context_vectors: (N, W), the same on every process.

        Returns:
            The fields of `LossReport`, by name.

        Raises:
            TrainingDataError: there is no context, or two of them, or shapes do not match.
        """
        queries, documents = embeddings_under(
            self.model,
            [(query_input_ids, query_attention_mask), (document_input_ids, document_attention_mask)],
            self._context(context_input_ids, context_attention_mask, context_vectors, query_input_ids.device),
            chunk_size=self.chunk_size,
            sequence_dropout=self.sequence_dropout if self.training else 0.0,
        )
        report: LossReport = self.loss(queries, documents, excluded)
        return report._asdict()

    def _context(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, vectors: Tensor | None, device: torch.device
    ) -> Tensor:
        """The step's context vectors (N, W), of all processes."""
        given = (input_ids is not None) + (vectors is not None)
        if given > 1 or (given == 0 and self.model.second_stage.reads_context):
            raise TrainingDataError(
                f"a step needs its context as tokens or as vectors, found {given} of them; give context_input_ids or "
                f"context_vectors"
            )
        if (input_ids is None) != (attention_mask is None):
            raise TrainingDataError("context_input_ids and context_attention_mask go together; give both or neither")
        if vectors is not None:
            return vectors
        if input_ids is None or attention_mask is None:
            return torch.zeros(1, self.model.width, device=device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.train_first_stage):
            return gathered(first_stage_vectors(self.model, (input_ids, attention_mask), self.chunk_size))


def checkpoint_activations(model: nn.Module, settings: Mapping[str, Any], **options: Any) -> None:
    """Switch activation checkpointing on in every backbone.

    Args:
        model: contains transformers' models.
        settings: for `torch.utils.checkpoint.checkpoint`.
        options: further ones of transformers' method, such as `every_n_layers`.

    Raises:
        ConfigurationError: `use_reentrant` is True. Layers would first run without a graph, which cuts the cached keys
            and values of a context off from their gradient.
    """
    settings = {"use_reentrant": False, **settings}
    if settings["use_reentrant"]:
        raise ConfigurationError("reentrant activation checkpointing loses gradients here; set use_reentrant to False")
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            # transformers renamed the method within version 5, and warns of the old name since.
            enable = getattr(module, "activation_checkpointing_enable", None) or module.gradient_checkpointing_enable
            enable(settings, **options)


def _forgive_shared_weights(module: nn.Module) -> None:
    """Let the module load a state that has each shared weight under one of its names only."""

    def forgive(loaded: nn.Module, incompatible: Any) -> None:
        groups: dict[int, set[str]] = {}
        for name, tensor in loaded.state_dict(keep_vars=True).items():
            groups.setdefault(id(tensor), set()).add(name)
        missing = set(incompatible.missing_keys)
        found = {name for names in groups.values() if not names <= missing for name in names}
        incompatible.missing_keys[:] = [name for name in incompatible.missing_keys if name not in found]

    module.register_load_state_dict_post_hook(forgive)  # type: ignore[no-untyped-call]
