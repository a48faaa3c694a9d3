"""Both stages of a contextual model in the memory of a few texts, for any training loop.

Axes: n texts, L tokens, N context documents, W width.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.training.losses.gradient_cache import gradient_cached

# Right-padded token ids and their mask, each (n, L).
TokenBatch = tuple[Tensor, Tensor]


def two_stage_embeddings(
    model: ContextualModel,
    texts: Sequence[TokenBatch],
    context: TokenBatch,
    *,
    chunk_size: int | None,
    sequence_dropout: float = 0.0,
) -> list[Tensor]:
    """Embeddings of texts under a context of documents, with gradients into both stages.

    Gradients are those of the plain graph. Activations take the memory of one chunk, and of the context once per step.
    In your own loop:

        queries, documents = two_stage_embeddings(model, [query_tokens, document_tokens], context_tokens, chunk_size=32)
        report = ContrastiveLoss()(queries, documents)
        report.loss.backward()
        optimiser.step()

    Under `DistributedDataParallel` call it inside the wrapped module's forward, as `ContrastiveModel` does.

    Args:
        model: with its parameters on the device of the tokens.
        texts: token ids and mask, each (n, L), of one or more groups of texts.
        context: token ids and mask of the context documents, each (N, L).
        chunk_size: texts at a time; None for the plain graph over everything.
        sequence_dropout: the probability with which the null vector replaces a context vector.

    Returns:
        For each group its embeddings (n, W), not normalised.

    Raises:
        ConfigurationError: the chunk size or the probability is impossible, or there is no null vector.
    """
    vectors = first_stage_vectors(model, context, chunk_size)
    return embeddings_under(model, texts, vectors, chunk_size=chunk_size, sequence_dropout=sequence_dropout)


def first_stage_vectors(model: ContextualModel, documents: TokenBatch, chunk_size: int | None) -> Tensor:
    """Context vectors (N, W) of documents; the first half of `two_stage_embeddings`.

    No graph is recorded if the second stage treats its context as a constant.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and model.second_stage.trains_context):
        return _rows(lambda batch, _: model.first_stage(*batch), [documents], None, model.first_stage, chunk_size)[0]


def embeddings_under(
    model: ContextualModel,
    texts: Sequence[TokenBatch],
    context_vectors: Tensor,
    *,
    chunk_size: int | None,
    sequence_dropout: float = 0.0,
) -> list[Tensor]:
    """Embeddings under context vectors (N, W), such as those of all processes; otherwise as `two_stage_embeddings`."""
    second_stage = model.second_stage
    second_stage.check_context(context_vectors)
    # Once per step and in the graph: the texts' gradients meet here, and flow on into the first stage.
    prepared = second_stage.prepare(context_vectors, sequence_dropout)
    return _rows(lambda batch, shared: second_stage.embed(*batch, shared), texts, prepared, second_stage, chunk_size)


def check_chunk_size(chunk_size: int | None) -> None:
    """Raise ConfigurationError unless it is a number of texts, or None."""
    if chunk_size is not None and chunk_size < 1:
        raise ConfigurationError(
            f"chunk_size must be at least 1, found {chunk_size}; give at least 1 text, or None for no gradient caching"
        )


def _rows(
    run: Callable[[TokenBatch, Any], Tensor],
    batches: Sequence[TokenBatch],
    shared: Any,
    stage: nn.Module,
    chunk_size: int | None,
) -> list[Tensor]:
    """Apply `run` to each batch, through the gradient cache unless there is no chunk size."""
    check_chunk_size(chunk_size)
    if chunk_size is None:
        return [run(batch, shared) for batch in batches]
    chunks, places = chunked_together(batches, chunk_size)
    rows = gradient_cached(run, chunks, shared, stage.parameters())
    return [rows[place] for place in places]


def length_sorted_chunks(batch: TokenBatch, size: int) -> tuple[list[TokenBatch], Tensor]:
    """Chunks of at most `size` texts, the longest first, each as wide as its longest text.

    Returns:
        The chunks, and the place (n,) of each text among the rows of all of them.
    """
    lengths = batch[1].sum(dim=1)
    order = lengths.argsort(descending=True, stable=True)
    chunks = [_trimmed(batch, rows, int(lengths[rows[0]])) for rows in torch.split(order, size)]
    return chunks, order.argsort()


def _trimmed(batch: TokenBatch, rows: Tensor, length: int) -> TokenBatch:
    input_ids, attention_mask = batch
    return input_ids[rows, :length], attention_mask[rows, :length]


def chunked_together(batches: Sequence[TokenBatch], size: int) -> tuple[list[TokenBatch], list[Tensor]]:
    """The chunks of several batches in one list, and for each batch its texts' places among all rows."""
    chunks: list[TokenBatch] = []
    places: list[Tensor] = []
    start = 0
    for batch in batches:
        found, place = length_sorted_chunks(batch, size)
        chunks += found
        places.append(place + start)
        start += len(place)
    return chunks, places
