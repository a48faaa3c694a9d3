"""mteb: a contextual model on its tasks, each under a context of its own texts."""

# ruff: noqa: E402 - a missing package is named before anything needs it
from cde_retrievers.util.imports import require

require("mteb", "cde_retrievers.mteb", extra="mteb")

from cde_retrievers.mteb.model import ContextualModelForMTEB

__all__ = ["ContextualModelForMTEB"]
