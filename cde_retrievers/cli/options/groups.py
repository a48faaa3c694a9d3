"""Options that several commands share, declared once: a dataclass of them is one parameter of a command."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache, wraps
from typing import Any, get_type_hints

from typer.models import ArgumentInfo

Command = Callable[..., None]


def with_groups(command: Command) -> Command:
    """Return the command with the fields of its dataclass parameters as options of its own, as typer expects them.

    Args:
        command: a function whose parameters are annotated, some of them with dataclasses whose fields typer knows how
            to read.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _of_group(groups[parameter.name])
        else:
            # Keywords may follow each other with and without defaults.
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name]))

    @wraps(command)
    def run(**values: Any) -> None:
        built = {
            name: group(**{item.name: values.pop(item.name) for item in fields(group)})
            for name, group in groups.items()
        }
        command(**values, **built)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


@cache  # many commands have the same ones, and every command is made before the first is run
def _of_group(group: Any) -> tuple[inspect.Parameter, ...]:
    hints = get_type_hints(group, include_extras=True)
    return tuple(
        inspect.Parameter(
            item.name, inspect.Parameter.KEYWORD_ONLY, default=_default(item), annotation=hints[item.name]
        )
        for item in fields(group)
    )


def _default(item: Field[Any]) -> Any:
    return inspect.Parameter.empty if item.default is MISSING else item.default


def arguments_of(group: object) -> list[str]:
    """Return the arguments of a command line that give a dataclass of options these values.

    Options that have their default are left out.
    """
    hints = get_type_hints(type(group), include_extras=True)
    arguments: list[str] = []
    for item in fields(group):  # type: ignore[arg-type]
        value, [declared] = getattr(group, item.name), hints[item.name].__metadata__
        if isinstance(declared, ArgumentInfo):
            # What begins with a dash would be taken for an option.
            arguments.append(f"./{value}" if str(value).startswith("-") else str(value))
        elif value != item.default:
            name = next(iter(declared.param_decls or ()), f"--{item.name.replace('_', '-')}")
            for each in value if isinstance(value, list) else [value]:
                arguments += [name] if each is True else [name, str(each)]
    return arguments
