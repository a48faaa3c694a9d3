"""Training steps over the tiny model: tokens as a collator would make them, and what a step's gradients are."""

import torch
from tiny import CORPUS, build_tokenizer
from torch import Tensor, nn

from cde_retrievers.encoder.tokenizer import TextTokenizer

QUESTIONS = [f"where does the {text.split()[1]} {text.split()[2]}" for text in CORPUS]


def tokens(texts: list[str]) -> tuple[Tensor, Tensor]:
    tokenizer = TextTokenizer(build_tokenizer(), 32, 0)
    return tokenizer.pad(tokenizer.encode(texts))


def make_step(pairs: slice, *, context: slice | None = slice(3, 10), ranks: int = 1) -> dict[str, Tensor]:
    """The pairs' queries, their documents, one hard negative each, and a share of the context documents."""
    documents = CORPUS[pairs] + [text[::-1] for text in CORPUS[pairs]]
    step = {}
    groups = {"query": QUESTIONS[pairs], "document": documents, "context": CORPUS[context] if context else []}
    for name, texts in groups.items():
        if texts:
            step[f"{name}_input_ids"], step[f"{name}_attention_mask"] = tokens(texts)
    count = len(QUESTIONS[pairs])
    step["excluded"] = torch.zeros(count, ranks * len(documents), dtype=torch.bool)
    return step


def gradients(model: nn.Module) -> dict[str, Tensor | None]:
    """Of every parameter, under its name."""
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def gradients_of(model: nn.Module, step: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor | None]:
    """Those of one step, with the random numbers of this seed."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(seed)
    model(**step)["loss"].backward()
    return gradients(model)


def furthest(actual: dict[str, Tensor | None], expected: dict[str, Tensor | None]) -> float:
    """The largest difference of any gradient, relative to the largest gradient; infinite if one is missing or none."""
    if [name for name in expected if (actual[name] is None) != (expected[name] is None)]:
        return float("inf")
    found = [(actual[name], expected[name]) for name in expected if expected[name] is not None]
    if not all(torch.isfinite(gradient).all() for both in found for gradient in both):
        return float("inf")
    largest = max(float(e.abs().max()) for _, e in found)
    return max(float((a - e).abs().max()) for a, e in found) / largest
