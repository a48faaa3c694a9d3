"""Training without dropout, as the released models were (docs/method.md, Dropout)."""

from torch import nn

# Where encoders keep the probability for attention, which is no module: NomicBERT's and ModernBERT's layers.
_FOR_ATTENTION = "attention_dropout"


def disable_dropout(model: nn.Module) -> None:
    """Set every dropout of a model to 0, in place; its settings stay."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, _FOR_ATTENTION, None), float):
            setattr(module, _FOR_ATTENTION, 0.0)
