"""Weights that a module has under several names, and of which a checkpoint holds one."""

from typing import Any

from torch import nn


def forgive_shared_weights(module: nn.Module) -> None:
    """Let the module load a state in which each weight stands once: its other names are then not missing."""

    def forgive(loaded: nn.Module, incompatible: Any) -> None:
        groups: dict[int, set[str]] = {}
        for name, tensor in loaded.state_dict(keep_vars=True).items():
            groups.setdefault(id(tensor), set()).add(name)
        missing = set(incompatible.missing_keys)
        found = {name for names in groups.values() if not names <= missing for name in names}
        incompatible.missing_keys[:] = [name for name in incompatible.missing_keys if name not in found]

    module.register_load_state_dict_post_hook(forgive)  # type: ignore[no-untyped-call]
