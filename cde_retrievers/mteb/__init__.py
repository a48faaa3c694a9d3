"""mteb: a contextual model on its tasks, each under a context of its own texts."""

try:
    import mteb  # noqa: F401
except ImportError as error:
    from cde_retrievers.errors import MissingDependencyError

    raise MissingDependencyError("cde_retrievers.mteb needs mteb: pip install 'cde-retrievers[mteb]'") from error

from cde_retrievers.mteb.model import ContextualModelForMTEB

__all__ = ["ContextualModelForMTEB"]
