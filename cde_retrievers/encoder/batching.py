"""Batching texts through a forward pass: by similar length, halved when memory runs out.

Axes: B texts of a batch, L tokens, W width.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from cde_retrievers.encoder.cut_texts import cut_texts_told_once
from cde_retrievers.encoder.device import default_padding_limit, default_token_budget
from cde_retrievers.encoder.forked import ForkSafeLock
from cde_retrievers.encoder.tokenizer import TextTokenizer
from cde_retrievers.errors import DeviceMemoryError
from cde_retrievers.model.second_stage import SecondStage
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.vectors import Embeddings

# (token ids (B, L), mask (B, L)) -> vectors (B, W)
Forward = Callable[[Tensor, Tensor], Tensor]

# Texts tokenised and sorted together: enough to batch well, in bounded memory for any corpus.
_WINDOW_TEXTS = 8_192
_WINDOW_CHARACTERS = 4_000_000


def unit_rows_under(second_stage: SecondStage[Any], prepared: Any) -> Forward:
    """Return a function that embeds batches under a prepared context as float32 unit rows, without gradients."""

    @torch.no_grad()
    def forward(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        embeddings = second_stage.embed(input_ids, attention_mask, prepared)
        return normalize(embeddings.float(), dim=-1)

    return forward


class BatchRunner:
    """Runs one batch at a time over all threads: more would share the same cores and add up in memory."""

    def __init__(self, tokenizer: TextTokenizer, device: torch.device, tokens_per_thread: int | None = None) -> None:
        """Make a runner.

        Args:
            tokenizer: of the model.
            device: where the forward pass runs.
            tokens_per_thread: padded tokens of a batch for each thread, where more are slower.
        """
        self._tokenizer = tokenizer
        self._device = device
        self._tokens_per_thread = tokens_per_thread
        self._lock = ForkSafeLock(device)

    def run(
        self,
        texts: Sequence[str],
        forward: Forward,
        width: int,
        show_progress: bool | None = None,
        positions_before_text: int = 0,
    ) -> Embeddings:
        """Run every text through `forward` -> (n, W) float32 in the order given.

        Args:
            texts: the texts to embed, prompts included.
            forward: maps token ids and mask of a batch to its vectors.
            width: W.
            show_progress: None shows a bar for long work only.
            positions_before_text: positions that the model reads before each text; batch sizes account for them.
        """
        result = np.empty((len(texts), width), dtype=np.float32)
        with cut_texts_told_once(), progress_bar(len(texts), show_progress) as bar:
            for start, stop in text_windows(texts):
                for indices, vectors in self._run_window(texts[start:stop], forward, positions_before_text):
                    result[start + np.asarray(indices)] = vectors
                    bar.update(len(indices))
        return result

    def _run_window(
        self, texts: Sequence[str], forward: Forward, positions_before_text: int
    ) -> Iterator[tuple[Sequence[int], Embeddings]]:
        tokens = self._tokenizer.encode(texts)
        lengths = [len(row) + positions_before_text for row in tokens]

        def run(indices: Sequence[int]) -> Embeddings:
            input_ids, attention_mask = self._tokenizer.pad([tokens[i] for i in indices])
            with self._lock, torch.inference_mode():
                vectors = forward(input_ids.to(self._device), attention_mask.to(self._device))
                array: Embeddings = vectors.float().cpu().numpy()
            return array

        def padded_tokens(indices: Sequence[int]) -> int:
            return len(indices) * max(lengths[i] for i in indices)

        limits = self._token_budget(), default_padding_limit(self._device)
        return run_batches(length_sorted_batches(lengths, *limits), run, padded_tokens)

    def _token_budget(self) -> int:
        most = default_token_budget(self._device)
        return most if self._tokens_per_thread is None else min(most, self._tokens_per_thread * torch.get_num_threads())


def text_windows(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield consecutive (start, stop) that cover the texts, each bounded in texts and, unless single, characters."""
    start, characters = 0, 0
    for i, text in enumerate(texts):
        characters += len(text)
        if i > start and (i - start == _WINDOW_TEXTS or characters > _WINDOW_CHARACTERS):
            yield start, i
            start, characters = i, len(text)
    if texts:
        yield start, len(texts)


def length_sorted_batches(lengths: Sequence[int], token_budget: int, padding_limit: int) -> list[list[int]]:
    """Group indices of texts into batches of similar length, longest first.

    A batch stays within the budget once padded, and at most `padding_limit` of its tokens are padding. A text longer
    than the budget is a batch of its own.
    """
    batches: list[list[int]] = []
    padding = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[batches[-1][0]] if batches else 0
        padding += longest - lengths[index]
        if batches and longest * (len(batches[-1]) + 1) <= token_budget and padding <= padding_limit:
            batches[-1].append(index)
        else:
            batches.append([index])
            padding = 0
    return batches


T = TypeVar("T")


def run_batches(
    batches: Iterable[Sequence[int]],
    run: Callable[[Sequence[int]], T],
    cost: Callable[[Sequence[int]], int],
) -> Iterator[tuple[Sequence[int], T]]:
    """Run every batch, halving those that do not fit into memory; yield (items, result) as they finish.

    After a failure no later batch costs more than the half that was tried next, so that memory does not run out
    repeatedly.

    Args:
        batches: groups of items, each run at once.
        run: computes one group; may run out of memory.
        cost: the size of a group in any unit (here: padded tokens).

    Raises:
        DeviceMemoryError: a single item does not fit.
    """
    limit: int | None = None
    for batch in batches:
        waiting = deque([batch])
        while waiting:
            items = waiting.popleft()
            if limit is not None and cost(items) > limit and len(items) > 1:
                waiting.extendleft(reversed(_halves(items)))
                continue
            try:
                result = run(items)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                _give_up_on_a_single_item(items, error)
                limit = cost(items) // 2
                waiting.appendleft(items)
                continue
            yield items, result


def _halves(items: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    middle = len(items) // 2
    return items[:middle], items[middle:]


def _give_up_on_a_single_item(items: Sequence[int], error: RuntimeError) -> None:
    if len(items) == 1:
        raise DeviceMemoryError(
            "a single text does not fit into the device's memory; free the device, use device='cpu', "
            "dtype='bfloat16' or a model with a smaller max_length"
        ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that torch ran out of memory; on the CPU it has no exception type for that."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in text or "out of memory" in text.lower())
