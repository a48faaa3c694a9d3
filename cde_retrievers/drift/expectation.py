"""What refitting is expected to do for retrieval, as measured by `benchmarks/drift_retrieval.py`."""

_MEASURED_FOR = "minilm"


def expectation(share: float, model_name: str) -> str:
    """One sentence or two."""
    return f"{share} {model_name}"
