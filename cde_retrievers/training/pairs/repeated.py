"""Pairs that come again, as in data sets with a row for each hard negative of a pair."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cde_retrievers.training.pairs.pairs import Indices, TrainingPairs


def first_rows(pairs: TrainingPairs) -> Indices:
    """The first row of each distinct query and positive, ascending."""
    return np.sort(np.unique(_texts(pairs), return_index=True)[1])


def with_gathered_negatives(pairs: TrainingPairs) -> TrainingPairs:
    """The pairs in their places, each with the hard negatives of all that have its query and positive, each once."""
    _, group = np.unique(_texts(pairs), return_inverse=True)
    gathered: list[dict[int, None]] = [{} for _ in range(int(group.max()) + 1)]
    for place, negatives in zip(group.tolist(), pairs.negatives_of, strict=True):
        gathered[place].update(dict.fromkeys(negatives))
    rows: Sequence[tuple[int, ...]] = [tuple(found) for found in gathered]
    return replace(pairs, negatives_of=tuple(rows[place] for place in group.tolist()))


def _texts(pairs: TrainingPairs) -> Indices:
    """A number for each pair that only those of the same texts share."""
    numbers: Indices = pairs.query_of * len(pairs.documents) + pairs.positive_of
    return numbers
