"""Two small retrieval sets."""

from tiny import CORPUS

from cde_retrievers.evaluation.dataset import RetrievalDataset

IDS = {f"d{place}": text for place, text in enumerate(CORPUS)}
ANIMALS = RetrievalDataset.of(
    {f"q{place}": " ".join(text.split()[:3]) for place, text in enumerate(CORPUS[::3])},
    IDS,
    {f"q{place}": {f"d{3 * place}"} for place in range(len(CORPUS[::3]))},
    name="animals",
)
# Every query is a document of the corpus, and another document answers it.
THEMSELVES = RetrievalDataset.of(
    {f"d{place}": CORPUS[place] for place in range(0, len(CORPUS), 3)},
    IDS,
    {f"d{place}": {f"d{place + 1}"} for place in range(0, len(CORPUS), 3)},
    name="themselves",
)
OTHERS = RetrievalDataset.of(
    {"q": "a list"}, {"a": "the list of keys", "b": "the map", "c": "a file"}, {"q": {"a"}}, "others"
)
