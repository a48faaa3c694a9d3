"""The result of a drift measurement."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from cde_retrievers.drift.expectation import REFIT_SHARE, expectation
from cde_retrievers.drift.two_sample import LEVEL

DriftVerdict = Literal["as expected", "drifting", "refit"]


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The distance of new documents from the documents of a context.

    Attributes:
        statistic: squared maximum mean discrepancy of both samples.
        threshold: value that the statistic exceeds by chance in 1 of 100 fair draws from one corpus.
        p_value: share of random splits of both samples, taken together, that are at least as far apart.
        share: estimated share of new documents that are unlike the corpus, from 0 to 1; too low if they are
            foreign but close to it.
        corpus_sample: number of distinct documents that represented the corpus.
        new_sample: number of distinct new documents compared with them.
        new_texts: number of all new texts, without those left out.
        left_out: number of new texts that are already in the corpus's sample.
        context: fingerprint of the context.
        model_name: name of the model that embedded the documents.
    """

    statistic: float
    threshold: float
    p_value: float
    share: float
    corpus_sample: int
    new_sample: int
    new_texts: int
    left_out: int
    context: str
    model_name: str

    @property
    def verdict(self) -> DriftVerdict:
        """Return "as expected" without a difference beyond chance, "drifting" with one, "refit" with a large one."""
        if self.p_value > LEVEL:
            return "as expected"
        return "refit" if self.share >= REFIT_SHARE else "drifting"

    @property
    def expectation(self) -> str:
        """The effect of refitting on retrieval measured at this distance."""
        return expectation(self.share if self.verdict != "as expected" else 0.0, self.model_name)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields in JSON types, verdict and expectation first."""
        return {"verdict": self.verdict, "expectation": self.expectation, **asdict(self)}

    def __str__(self) -> str:
        left_out = f", {self.left_out:,} more are already in the corpus's sample" if self.left_out else ""
        found = f"about {self.share:.0%} of the new documents are unlike the corpus"
        return (
            f"{self.verdict}: {'no difference beyond chance' if self.verdict == 'as expected' else found} "
            f"(distance {self.statistic / self.threshold:.2f} of what chance allows, p = {self.p_value:.3f})\n"
            f"compared: {self.new_sample:,} of {self.new_texts:,} new documents with {self.corpus_sample:,} of the "
            f"corpus{left_out}\n"
            f"retrieval: {self.expectation}"
        )
