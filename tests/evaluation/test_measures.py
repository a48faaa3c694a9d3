"""The measures, against their definitions written out."""

import numpy as np
import pytest

from cde_retrievers.errors import MissingDependencyError
from cde_retrievers.evaluation.metrics import MEASURES
from cde_retrievers.retrieval.judgements import JudgedQueries
from cde_retrievers.util import imports as optional

RANKED = [f"d{place}" for place in range(150)]
JUDGED = JudgedQueries(
    {"one": "q", "graded": "q", "far": "q", "not found": "q"},
    {
        "one": {"d2": 1, "d5": 0},
        "graded": {"d0": 1, "d3": 2, "d120": 1},
        "far": {"d11": 1},
        "not found": {"elsewhere": 1},
    },
)
RUN = {query: {document: 1.0 - place / 200 for place, document in enumerate(RANKED)} for query in JUDGED.queries}


def by_definition(relevant):
    ranks = {document: place + 1 for place, document in enumerate(RANKED)}
    answers = {document: grade for document, grade in relevant.items() if grade > 0}
    found = sorted(ranks[document] for document in answers if document in ranks)
    gain = sum(grade / np.log2(ranks[d] + 1) for d, grade in answers.items() if ranks.get(d, 999) <= 10)
    ideal = sum(grade / np.log2(place + 2) for place, grade in enumerate(sorted(answers.values(), reverse=True)[:10]))
    return {
        "ndcg@10": gain / ideal,
        "recall@100": sum(rank <= 100 for rank in found) / len(answers),
        "mrr@10": 1 / found[0] if found and found[0] <= 10 else 0,
        "map": sum((place + 1) / rank for place, rank in enumerate(found)) / len(answers),
    }


@pytest.mark.parametrize("query", JUDGED.queries)
def test_every_measure_is_what_its_definition_says(query):
    place = list(JUDGED.queries).index(query)
    expected = by_definition(JUDGED.relevant[query])
    found = {name: values[place] for name, values in JUDGED.per_query(RUN, MEASURES).items()}
    assert found == pytest.approx(expected)
    assert set(found) == set(MEASURES)


def test_a_query_that_found_nothing_counts_zero():
    values = JUDGED.per_query({"one": RUN["one"]}, MEASURES)
    assert [list(np.flatnonzero(values[name])) for name in MEASURES] == [[0]] * 4
    assert len(values["map"]) == 4


def test_missing_ir_measures_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'cde-retrievers\[eval\]'"):
        JUDGED.per_query(RUN, MEASURES)
