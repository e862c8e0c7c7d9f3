"""A configuration dataclass as command-line options, and as keyword arguments.

The defaults and help texts stand once, in the dataclass: `field(default=10, metadata={"help": "..."})`. Fields are
bool, int, float, str, a `Literal`, one of these or None, or a tuple of one of these (`tuple[float, ...]`: separated
by commas). A trailing underscore is dropped, so that `lambda_` is `--lambda`. A bool is `--name/--no-name`, or
what the metadata says: `{"flags": "--edgewise/--nodewise"}`. So do bounds of numbers: `{"least": 0, "most": 1}`.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from interpbench.errors import UsageError, unknown


def check_fields(config: type) -> None:
    """Raise TypeError unless an option can hold every field of the dataclass, and each has a default."""
    hints = get_type_hints(config)
    for field in dataclasses.fields(config):
        if not _is_option(hints[field.name]):
            raise TypeError(
                f"option '{field.name}' is {_type_name(hints[field.name])}; expected bool, int, float, str, a Literal "
                "of texts, one of these or None, or a tuple of one of these"
            )
        if _default(field) is dataclasses.MISSING:
            raise TypeError(f"option '{field.name}' has no default")


def _is_option(hint: Any) -> bool:
    origin, parts = get_origin(hint), set(get_args(hint))
    if origin is tuple:
        return len(parts - {...}) == 1 and _is_single(*parts - {...})
    if origin in (Union, types.UnionType):
        return len(parts) == 2 and type(None) in parts and _is_single(*parts - {type(None)})
    return _is_single(hint)


def _is_single(hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return all(isinstance(value, str) for value in get_args(hint))
    return hint in (bool, int, float, str)


def make_config(config: type, options: Mapping[str, Any], owner: str) -> Any:
    """An instance of the dataclass with these fields set.

    Raises UsageError for a field that does not exist, a value of the wrong type, or what the dataclass itself refuses.
    """
    names = [field.name for field in dataclasses.fields(config)]
    for name in options:
        if name not in names:
            raise UsageError(f"{owner}: {unknown('option', name, names)}; there are: {', '.join(names) or 'none'}")
    hints = get_type_hints(config)
    for name, value in options.items():
        if not _fits(value, hints[name]):
            raise UsageError(f"{owner}: {name} is {value!r}, expected {_type_name(hints[name])}")
    try:
        return check_bounds(config(**options), owner)
    except ValueError as error:
        raise UsageError(f"{owner}: {error}") from None


def check_bounds(config: Any, owner: str) -> Any:
    """The same configuration. Raises UsageError for a number that is not within its option's bounds, or is NaN."""
    for field in dataclasses.fields(config):
        value, least, most = getattr(config, field.name), field.metadata.get("least"), field.metadata.get("most")
        for number in value if isinstance(value, (tuple, list)) else (value,):
            if number is not None and not ((least is None or number >= least) and (most is None or number <= most)):
                bounds = [f"at least {least}"] * (least is not None) + [f"at most {most}"] * (most is not None)
                raise UsageError(f"{owner}: {field.name.rstrip('_')} is {number}, expected {' and '.join(bounds)}")
    return config


def parse_value(config: type, name: str, text: str, owner: str) -> tuple[str, Any]:
    """The field that an option sets, and its value as typed on a command line; items of a list are joined by `+`.

    Raises UsageError for an option that does not exist or a text that is not a valid value.
    """
    hints = get_type_hints(config)
    field = next((own for own in hints if own.rstrip("_") == name.replace("-", "_").rstrip("_")), None)
    if field is None:
        raise UsageError(f"{owner}: {unknown('option', name, hints)}")
    return field, _parse(hints[field], text, f"{owner}: {name}")


def _parse(hint: Any, text: str, what: str) -> Any:
    if get_origin(hint) is tuple:
        (item,) = set(get_args(hint)) - {...}
        return tuple(_parse(item, word, what) for word in text.split("+") if word)
    kinds = {bool: {"true": True, "false": False}.__getitem__, int: int, float: float, str: str}
    try:
        value = kinds[hint](text) if hint in kinds else text
    except (KeyError, ValueError):
        value = None
    if not _fits(value, hint):
        raise UsageError(f"{what} is {text!r}, expected {'true or false' if hint is bool else _type_name(hint)}")
    return value


def with_options(function: Callable[..., Any], config: type, owner: str) -> Callable[..., Any]:
    """`function` with its parameter `config` replaced by one option for every field of the dataclass.

    Raises ValueError if a field has the name of one of the function's own parameters or a type that no option can hold.
    """
    own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "config"]
    hints = get_type_hints(config)
    added = [_parameter(field, hints[field.name], owner) for field in dataclasses.fields(config)]
    for parameter in added:
        if parameter.name in {p.name for p in own}:
            raise ValueError(f"option '{parameter.name}' of {owner} is one that every command of its kind has")

    def command(**arguments: Any) -> Any:
        chosen = {parameter.name: arguments.pop(parameter.name) for parameter in added}
        return function(**arguments, config=make_config(config, chosen, owner))

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *added)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {}
    command.__doc__ = inspect.getdoc(function)
    return command


def arguments(config: Any) -> list[str]:
    """The options that make this configuration, as typed on a command line, without those at their defaults."""
    words = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == _default(field):
            continue
        if isinstance(value, bool):
            words.append(_switch(field).split("/")[0 if value else 1])
        else:
            words += [_flag(field.name), _listed(value) if isinstance(value, (tuple, list)) else str(value)]
    return words


def _flag(name: str) -> str:
    return "--" + name.rstrip("_").replace("_", "-")


def _switch(field: dataclasses.Field[Any]) -> str:
    """The two flags of a bool, for on and off."""
    flag = _flag(field.name)
    return field.metadata.get("flags", f"{flag}/--no-{flag[2:]}")


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _parameter(field: dataclasses.Field[Any], hint: Any, owner: str) -> inspect.Parameter:
    import typer

    default = _default(field)
    if default is dataclasses.MISSING:
        raise ValueError(f"option '{field.name}' of {owner} has no default")
    kind: dict[str, Any] = {"help": field.metadata.get("help", ""), "rich_help_panel": f"Options of {owner}"}
    flags = [_switch(field) if hint is bool else _flag(field.name)]
    if get_origin(hint) is tuple:
        (item,) = set(get_args(hint)) - {...}
        kind |= {"parser": _list_parser(item), "metavar": f"{_type_name(item)},...", "show_default": _listed(default)}
        hint = Any
    elif hint in (int, float):
        kind |= {"min": field.metadata.get("least"), "max": field.metadata.get("most")}
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[hint, typer.Option(*flags, **kind)],
    )


def _list_parser(item: Any) -> Callable[[Any], tuple[Any, ...]]:
    def parse(text: Any) -> tuple[Any, ...]:
        if isinstance(text, tuple):
            return text
        words = [word.strip() for word in text.split(",") if word.strip()]
        for word in words if get_origin(item) is Literal else []:
            if word not in get_args(item):
                raise ValueError(f"{word!r} is not one of {', '.join(get_args(item))}")
        return tuple(words if get_origin(item) is Literal else map(item, words))

    return parse


def _listed(default: Any) -> str:
    return ",".join(map(str, default))


def _fits(value: Any, hint: Any) -> bool:
    """Whether the value has the type; an int is a float too, a list does for a tuple."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin is tuple:
        return isinstance(value, (tuple, list)) and all(_fits(each, get_args(hint)[0]) for each in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint is Any or (value is None if hint is type(None) else isinstance(value, hint))


def _type_name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
