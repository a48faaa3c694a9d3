"""The result of a drift measurement."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from cde_retrievers.drift.expectation import REFIT_SHARE, expectation
from cde_retrievers.drift.two_sample import LEVEL, SMALLEST_SAMPLE
from cde_retrievers.util.counted import counted

DriftVerdict = Literal["nothing new", "too few", "as expected", "drifting", "refit"]

_ONE_KIND = "documents of one kind alone, such as the chapters of one book, differ from a mixed corpus in any case"
_ADVICE: Mapping[DriftVerdict, str] = {
    "nothing new": "nothing; measure documents before they are added",
    "too few": "add them, and measure with those that come after them once there are more",
    "as expected": "add the new documents; the context fits them",
    "drifting": f"add the new documents, and measure again as more come in; the context still fits most ({_ONE_KIND})",
    "refit": f"add the new documents and refit, if more of their kind will come ({_ONE_KIND})",
}


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
        new_sample: number of distinct new documents compared with them, or found, where they are too few to compare.
        new_texts: number of all new texts, without those left out.
        left_out: number of given texts that are not new, since they are of the corpus.
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

    @classmethod
    def of_no_comparison(
        cls, new_sample: int, new_texts: int, left_out: int, corpus_sample: int, context: str, model_name: str
    ) -> Self:
        """Return the report on texts of which none or too few are new, so that nothing was compared."""
        return cls(
            statistic=0.0,
            threshold=0.0,
            p_value=1.0,
            share=0.0,
            corpus_sample=corpus_sample,
            new_sample=new_sample,
            new_texts=new_texts,
            left_out=left_out,
            context=context,
            model_name=model_name,
        )

    @property
    def verdict(self) -> DriftVerdict:
        """Return "as expected" without a difference beyond chance, "drifting" with one, "refit" with a large one.

        "nothing new" if every text is of the corpus itself, "too few" if fewer than 16 are not, which shows nothing.
        """
        if self.new_sample == 0:
            return "nothing new"
        if self.new_sample < SMALLEST_SAMPLE:
            return "too few"
        if self.p_value > LEVEL:
            return "as expected"
        return "refit" if self.share >= REFIT_SHARE else "drifting"

    @property
    def expectation(self) -> str:
        """The effect of refitting on retrieval measured at this distance."""
        if self.verdict == "too few":
            return "nothing was compared."
        return expectation(self.share if self.verdict in ("drifting", "refit") else 0.0, self.model_name)

    @property
    def advice(self) -> str:
        """What to do with the new documents and with the context."""
        return _ADVICE[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields in JSON types, verdict, expectation and advice first."""
        return {"verdict": self.verdict, "expectation": self.expectation, "advice": self.advice, **asdict(self)}

    def __str__(self) -> str:
        if self.verdict == "nothing new":
            return (
                f"nothing new: the corpus that the context was fitted on has the text of every document "
                f"({self.left_out:,} looked up); nothing has changed\n"
                f"what to do: {self.advice}"
            )
        left_out = f"; {self.left_out:,} more are of the corpus already, and left out" if self.left_out else ""
        if self.verdict == "too few":
            documents = "1 new document" if self.new_sample == 1 else f"{self.new_sample:,} different new documents"
            return (
                f"too few: {documents} cannot be compared with the corpus; {SMALLEST_SAMPLE} can{left_out}\n"
                f"what to do: {self.advice}"
            )
        return (
            f"{self.verdict}: {self._finding}\n"
            f"compared: {self.new_sample:,} of {self.new_texts:,} new documents with a sample of "
            f"{counted(self.corpus_sample, 'document')} of the corpus{left_out}\n"
            f"retrieval: {self.expectation}\n"
            f"what to do: {self.advice}"
        )

    @property
    def _finding(self) -> str:
        rarity = f"random draws from one corpus differ as much in {_of_a_hundred(self.p_value)}"
        if self.verdict == "as expected":
            return f"the new documents look like those of the corpus ({rarity})"
        return f"about {self.share:.0%} of the new documents look unlike those of the corpus ({rarity})"


def _of_a_hundred(share: float) -> str:
    return f"{share:.1%} of all cases" if share < 0.1 else f"{share:.0%} of all cases"
