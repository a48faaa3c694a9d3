"""An embedder in a few lines of numpy, for tests of everything around a model: hashed words, seen against a context."""

import hashlib
import re
from collections.abc import Iterable

import numpy as np

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.context.fitting import fit_context_of
from cde_retrievers.validation.texts import checked_texts


class BagOfWords:
    """Counts hashed words and subtracts a part of the context's mean."""

    share = 0.5

    def __init__(self, width: int = 32, name: str = "bag-of-words") -> None:
        self.width = width
        self.name = name
        self.fingerprint = hashlib.sha256(f"{name} {width}".encode()).hexdigest()
        self.embedded = 0

    def check_context(self, context: CorpusContext) -> None:
        context.check_model(self.fingerprint, self.name)

    def fit_context(self, texts, size=None, strategy="random", seed=0, show_progress=None) -> CorpusContext:
        return fit_context_of(self, texts, size or 16, strategy, seed, show_progress)

    def first_stage_vectors(self, texts: Iterable[str], show_progress=None) -> np.ndarray:
        return np.stack([self._counts(text) for text in checked_texts(texts)])

    def encode_documents(self, texts, context, show_progress=None) -> np.ndarray:
        self.check_context(context)
        known = list(checked_texts(texts))
        self.embedded += len(known)
        if not known:
            return np.empty((0, self.width), dtype=np.float32)
        vectors = self.first_stage_vectors(known) - self.share * context.vectors.mean(axis=0)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_queries(self, texts, context, show_progress=None) -> np.ndarray:
        return self.encode_documents(texts, context)

    def _counts(self, text: str) -> np.ndarray:
        counts = np.zeros(self.width, dtype=np.float32)
        for word in re.findall(r"\w+", text.lower()):
            counts[int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big") % self.width] += 1
        return counts
