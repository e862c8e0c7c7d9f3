"""Checks that the objects of a plugin are what its hooks promise."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from interpbench.cases.case import Case
from interpbench.errors import UsageError, shown
from interpbench.plugins.options import check_fields
from interpbench.properties.property import Property

if TYPE_CHECKING:
    from interpbench.problem.technique import Technique


_NAME = re.compile(r"\w[\w.-]*")


def check_case(thing: Any) -> None:
    """Raise TypeError unless this is a case."""
    if not isinstance(thing, Case):
        raise TypeError(f"{thing!r} is not an interpbench.Case")


def check_property(thing: Any) -> None:
    """Raise TypeError unless this is a property with a level."""
    if not isinstance(thing, Property):
        raise TypeError(f"{thing!r} is not an interpbench.properties.Property")
    if not thing.levels:
        raise TypeError(f"{thing.name}: has no levels")


def check_trainer(thing: Any) -> None:
    """Raise TypeError unless this is a trainer."""
    check_worker(thing, "train")


def check_technique(thing: Any) -> None:
    """Raise TypeError unless this is a technique."""
    check_worker(thing, "discover")
    if not isinstance(getattr(thing, "version", None), str):
        raise TypeError(f"{thing.name}: has no `version`")


def checked(technique: Technique) -> Technique:
    """The same technique. Raises UsageError if a plugin could not provide it."""
    try:
        check_technique(technique)
        check_name(technique)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None
    return technique


def check_name(thing: Any) -> None:
    """Raise ValueError unless the name can be a folder's."""
    if not _NAME.fullmatch(thing.name):
        raise ValueError(
            f"{shown(thing.name)} is not a valid name: expected letters, digits, '_', '-', '.', no '-' or '.' first"
        )


def check_worker(thing: Any, method: str) -> None:
    """Raise TypeError unless this has a name, a `Config` dataclass whose fields can be options, and the method."""
    if not isinstance(getattr(thing, "name", None), str):
        raise TypeError(f"{thing!r} has no `name`")
    if not dataclasses.is_dataclass(getattr(thing, "Config", None)):
        raise TypeError(f"{thing.name}: `Config` is not a dataclass")
    try:
        check_fields(thing.Config)
    except (TypeError, NameError) as error:
        raise TypeError(f"{thing.name}: {error}") from None
    if not callable(getattr(thing, method, None)):
        raise TypeError(f"{thing.name}: has no method `{method}`")
