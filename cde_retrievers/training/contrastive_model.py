"""One training step as one module: tokens in, loss out. Axes: see `ContrastiveModel.forward`."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.training.distributed import gathered
from cde_retrievers.training.losses.contrastive import ContrastiveLoss
from cde_retrievers.training.losses.two_stage import check_chunk_size, embeddings_under, first_stage_vectors


class ContrastiveModel(nn.Module):
    """Both stages of a model under a contrastive loss, as `transformers.Trainer` and `DistributedDataParallel` take it.

    All that is special about it (two-stage gradient caching, sharing documents between processes) happens in its
    forward pass and in an ordinary backward pass.

    Args:
        model: the model to train, in place.
        loss: `ContrastiveLoss()` if None.
        chunk_size: texts at a time, which bounds memory (`two_stage_embeddings`); None for the plain graph.
        sequence_dropout: in training, the probability with which the null vector takes a context vector's place
            (paper, section 4.2: 0.005). At 0 a null vector is not trained.
        train_first_stage: if False the first stage stays as it is, in evaluation mode and without gradients.

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
        """Parameters that never have a gradient must say so, or processes would wait for each other's."""
        second_stage = self.model.second_stage
        if not self.train_first_stage:
            first = {id(parameter) for parameter in self.model.first_stage.parameters()}
            if first & {id(parameter) for parameter in second_stage.parameters()}:
                raise ConfigurationError(
                    "under whitening the first stage embeds the texts too, so nothing would be left to train; "
                    "leave train_first_stage at True"
                )
            self.model.first_stage.requires_grad_(False)
        if self.sequence_dropout == 0 and second_stage.null_vector is not None:
            second_stage.null_vector.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """As every module's, but a frozen first stage stays in evaluation mode: no dropout in its vectors."""
        super().train(mode)
        if not self.train_first_stage:
            self.model.first_stage.eval()
        return self

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """Recompute activations layer by layer in both backbones; what `transformers.Trainer` calls for it.

        Args:
            activation_checkpointing_kwargs: for `torch.utils.checkpoint.checkpoint`.
            options: what else the method of transformers' models takes.

        Raises:
            ConfigurationError: the reentrant kind is asked for.
        """
        checkpoint_activations(self.model, activation_checkpointing_kwargs or {}, **options)

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """The same under the name that transformers had for it at first."""
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
        """One step's loss. Axes: B queries and M documents of this process, R processes, N context documents, W width.

        The context is given as tokens or as vectors; a model that reads none (whitening with power 0) needs neither.

        Args:
            query_input_ids: right-padded token ids (B, Lq).
            query_attention_mask: their mask.
            document_input_ids: (M, Ld): the positives in the order of the queries, then the hard negatives of each.
            document_attention_mask: their mask.
            excluded: (B, R * M) bool, True for documents that do not count against a query.
            context_input_ids: (N / R, Lc): this process's share of the step's context documents.
            context_attention_mask: their mask.
            context_vectors: (N, W), made beforehand, the same on every process.

        Returns:
            "loss" to be minimised, "accuracy" and "masked_share" to be watched; scalars, float32.

        Raises:
            TrainingDataError: there is no context, or two, or shapes do not match.
        """
        queries, documents = embeddings_under(
            self.model,
            [(query_input_ids, query_attention_mask), (document_input_ids, document_attention_mask)],
            self._context(context_input_ids, context_attention_mask, context_vectors, query_input_ids.device),
            chunk_size=self.chunk_size,
            sequence_dropout=self.sequence_dropout if self.training else 0.0,
        )
        report = self.loss(queries, documents, excluded)
        return {"loss": report.loss, "accuracy": report.accuracy, "masked_share": report.masked_share}

    def _context(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, vectors: Tensor | None, device: torch.device
    ) -> Tensor:
        """The step's context vectors (N, W), of all processes."""
        given = (input_ids is not None) + (vectors is not None)
        if given > 1 or (given == 0 and self.model.second_stage.reads_context):
            raise TrainingDataError(
                f"a step needs its context either as tokens or as vectors, found {given} of them; "
                f"give context_input_ids or context_vectors"
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
    """Switch it on in every backbone.

    Args:
        model: with transformers' models somewhere inside.
        settings: for `torch.utils.checkpoint.checkpoint`; not reentrant unless they say so.
        options: what else the method of transformers' models takes, such as `every_n_layers`.

    Raises:
        ConfigurationError: the reentrant kind is asked for. It runs layers without a graph first, and so would cut the
            keys and values that `cached` conditioning keeps of a context off from their gradient.
    """
    settings = {"use_reentrant": False, **settings}
    if settings["use_reentrant"]:
        raise ConfigurationError("reentrant activation checkpointing loses gradients here; set use_reentrant to False")
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            # transformers gave the method its new name within version 5, and warns of the old one since.
            enable = getattr(module, "activation_checkpointing_enable", None) or module.gradient_checkpointing_enable
            enable(settings, **options)


def _forgive_shared_weights(module: nn.Module) -> None:
    """Let the module load a state in which each weight stands once: its other names are then not missing."""

    def forgive(loaded: nn.Module, incompatible: Any) -> None:
        groups: dict[int, set[str]] = {}
        for name, tensor in loaded.state_dict(keep_vars=True).items():
            groups.setdefault(id(tensor), set()).add(name)
        missing = set(incompatible.missing_keys)
        found = {name for names in groups.values() if not names <= missing for name in names}
        incompatible.missing_keys[:] = [name for name in incompatible.missing_keys if name not in found]

    module.register_load_state_dict_post_hook(forgive)  # type: ignore[no-untyped-call]
