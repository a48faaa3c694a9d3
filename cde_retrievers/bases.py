"""What an adapter needs to know of the embedding object that a user hands it as a base."""

import pickle

from cde_retrievers.errors import ConfigurationError

_NAMELESS = ("", "unknown")  # the latter is what LlamaIndex calls a model without a name


def name_of_base(base: object, given: str | None) -> str:
    """The name of the model behind a base: as given, or else the base's own `model_name` or `model`.

    Raises:
        ConfigurationError: it has none.
    """
    for name in (given, getattr(base, "model_name", None), getattr(base, "model", None)):
        if isinstance(name, str) and name not in _NAMELESS:
            return name
    raise ConfigurationError(
        f"{type(base).__name__} does not say which model is behind it, and a context must know; give base_name='...', "
        f"and another one whenever the model changes"
    )


def require_picklable(base: object) -> None:
    """Raise ConfigurationError unless the base can travel to another process.

    Nothing that was pickled is read or stored here.
    """
    try:
        pickle.dumps(base)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"the base {type(base).__name__} cannot be pickled ({error}); save the context with save_context(path), "
            f"and in the other process make the base again and give it with context_path=path"
        ) from error
