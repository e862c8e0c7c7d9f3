"""Find plugins, isolate the broken ones, look up cases, properties, trainers and techniques by name.

Each plugin is imported and called in a manager of its own, so that a plugin that fails does not affect the others; its
row holds the error. Core's own cases and trainers come first, through the same hooks, and keep their names. A name that
two plugins provide belongs to neither: it is refused where it is used.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from interpbench.cases.case import Case
from interpbench.errors import UsageError, kind_and_line, unknown
from interpbench.hooks import GROUP
from interpbench.plugins import hookspecs
from interpbench.plugins.checks import check_case, check_name, check_property, check_technique, check_trainer
from interpbench.properties.generated import generated_case, property_of
from interpbench.properties.property import Property

if TYPE_CHECKING:
    from interpbench.problem.technique import Technique
    from interpbench.trainers.trainer import Trainer

CORE = ("interpbench.cases", "interpbench.properties", "interpbench.trainers")
CORE_OWNERS = tuple(f"plugin '{module.rpartition('.')[2]}' of interpbench" for module in CORE)
SINGULAR = {"cases": "case", "properties": "property", "trainers": "trainer", "techniques": "technique"}
RESTRICT = "INTERPBENCH_PLUGINS"
"""Environment variable: names of the plugins to load, separated by commas; if empty, only core's own are loaded."""


@dataclass(frozen=True)
class Plugin:
    """One row of `interpbench plugins`: what a plugin provides, or why it provides nothing."""

    name: str
    distribution: str
    version: str
    cases: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    trainers: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    progress: bool = False
    """Whether it implements `interpbench_progress`."""
    contested: tuple[str, ...] = ()
    """Which of these another plugin provides too, such as `technique eap`."""
    error: str | None = None


@dataclass(frozen=True)
class Registry:
    """Everything that plugins provide, by name; `listeners` are their `interpbench_progress`, by plugin.

    `contested` has the owners of each name that several plugins provide, such as `technique eap`.
    """

    cases: Mapping[str, Case] = field(default_factory=dict)
    properties: Mapping[str, Property] = field(default_factory=dict)
    trainers: Mapping[str, Trainer] = field(default_factory=dict)
    techniques: Mapping[str, Technique] = field(default_factory=dict)
    listeners: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    contested: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    plugins: tuple[Plugin, ...] = ()

    def __repr__(self) -> str:
        return f"Registry({', '.join(f'{len(getattr(self, kind))} {kind}' for kind in (*SINGULAR, 'plugins'))})"

    def case(self, name: str) -> Case:
        """The case of that name, installed or generated. Raises UsageError, with the nearest name, if there is none."""
        generated = generated_case(name, self.properties)
        if generated is not None and name in self.cases:
            of = property_of(name)
            raise UsageError(f"case '{name}' is provided by a plugin, but names a generated case of '{of}'")
        if generated is not None:
            return generated
        planted = property_of(name)
        if name not in self.cases and planted is not None:
            self.property(planted)
        return self._get("case", self.cases, name)

    def property(self, name: str) -> Property:
        """The property of that name. Raises UsageError, with the nearest name, if there is none."""
        return self._get("property", self.properties, name)

    def trainer(self, name: str) -> Trainer:
        """The trainer of that name. Raises UsageError, with the nearest name, if there is none."""
        return self._get("trainer", self.trainers, name)

    def technique(self, name: str) -> Technique:
        """The technique of that name. Raises UsageError, with the nearest name, if there is none."""
        return self._get("technique", self.techniques, name)

    def _get(self, kind: str, known: Mapping[str, Any], name: str) -> Any:
        if name in known:
            return known[name]
        if owners := self.contested.get(f"{kind} {name}"):
            raise UsageError(
                f"{kind} '{name}' is provided by {' and by '.join(owners)}; uninstall one, or load only the other "
                f"({RESTRICT}=NAME,...)"
            )
        message = unknown(kind, name, known)
        if "did you mean" not in message:
            message += f"; there are: {', '.join(known)}" if known else "; none is installed"
        broken = [plugin.name for plugin in self.plugins if plugin.error]
        raise UsageError(message + (f" (broken: {', '.join(broken)}; see `interpbench plugins`)" if broken else ""))


def load_case(name: str) -> Case:
    """The case of that name. Raises UsageError, with the nearest name, if there is none."""
    return load().case(name)


def load() -> Registry:
    """Everything that core and the installed plugins provide. An error of a plugin goes into its row, never raised."""
    found: dict[str, dict[str, list[tuple[Any, str]]]] = {kind: {} for kind in SINGULAR}
    listeners: dict[str, Callable[..., Any]] = {}
    rows = []
    for name, distribution, version, importer in _sources():
        owner = f"plugin '{name}' of {distribution}"
        try:
            with redirect_stdout(sys.stderr):  # stdout is for results
                provided, listener = _ask(importer())
            for kind, thing in ((kind, thing) for kind, things in provided.items() for thing in things):
                for _, other in found[kind].get(thing, ()):
                    if other in CORE_OWNERS:
                        raise ValueError(
                            f"{SINGULAR[kind]} '{thing}' is also provided by {other}, which keeps the name"
                        )
        except (Exception, SystemExit) as error:  # a plugin may raise anything; it goes into its row
            rows.append(Plugin(name, distribution, version, error=kind_and_line(error)))
            continue
        for kind, things in provided.items():
            for thing, value in things.items():
                found[kind].setdefault(thing, []).append((value, owner))
        cases, properties, trainers, techniques = (tuple(provided[kind]) for kind in found)
        names = (cases, properties, trainers, techniques)
        rows.append(Plugin(name, distribution, version, *names, progress=listener is not None))
        if listener is not None:
            listeners[name] = listener
    contested = {
        f"{SINGULAR[kind]} {thing}": tuple(owner for _, owner in offers)
        for kind, things in found.items()
        for thing, offers in things.items()
        if len(offers) > 1
    }
    by_name = {
        kind: {name: things[name][0][0] for name in sorted(things, key=_natural) if len(things[name]) == 1}
        for kind, things in found.items()
    }
    plugins = tuple(replace(row, contested=_contested(row, contested)) for row in rows)
    return Registry(listeners=listeners, contested=contested, plugins=plugins, **by_name)


def _contested(row: Plugin, contested: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    names = (f"{one} {name}" for kind, one in SINGULAR.items() for name in getattr(row, kind))
    return tuple(name for name in names if name in contested)


def _sources() -> Iterable[tuple[str, str, str, Callable[[], ModuleType]]]:
    """Name, distribution, version and importer of every plugin: core's, then the installed ones by name."""
    version = metadata.version("interpbench")
    for module in CORE:
        yield module.rpartition(".")[2], "interpbench", version, lambda module=module: importlib.import_module(module)
    restrict = os.environ.get(RESTRICT)
    wanted = None if restrict is None else {name.strip() for name in restrict.split(",")} - {""}
    points = sorted(metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    for point in points:
        if wanted is None or point.name in wanted:
            dist = point.dist
            yield point.name, dist.name if dist else "?", dist.version if dist else "?", point.load
    for name in sorted((wanted or set()) - {point.name for point in points}):
        yield name, "?", "?", lambda name=name: _not_installed(name, [point.name for point in points])


def _not_installed(name: str, known: list[str]) -> ModuleType:
    raise LookupError(f"{RESTRICT}: {unknown('plugin', name, known)}")


def _ask(module: ModuleType) -> tuple[dict[str, dict[str, Any]], Callable[..., Any] | None]:
    """What a plugin provides, by kind and name, and its listener. Raises any error of the plugin."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    hooks = sorted(name for name in vars(hookspecs) if name.startswith("interpbench_"))
    for name in vars(module):
        if name.startswith("interpbench_") and callable(getattr(module, name)) and name not in hooks:
            raise ValueError(f"{unknown('hook', name, hooks)}; there are: {', '.join(hooks)}")
    manager.check_pending()
    if not manager.get_hookcallers(module):
        raise ValueError(f"{module.__name__} has no function marked @interpbench.hookimpl; hooks: {', '.join(hooks)}")
    provided = {
        "cases": _named(manager.hook.interpbench_cases(), check_case),
        "properties": _named(manager.hook.interpbench_properties(), check_property),
        "trainers": _named(manager.hook.interpbench_trainers(), check_trainer),
        "techniques": _named(manager.hook.interpbench_techniques(), check_technique),
    }
    follow = manager.hook.interpbench_progress
    return provided, follow if follow.get_hookimpls() else None


def _named(answers: Iterable[Iterable[Any]], check: Callable[[Any], None]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for thing in (thing for answer in answers for thing in answer):
        check(thing)
        check_name(thing)
        if thing.name in named:
            raise ValueError(f"{thing.name!r} is provided twice")
        named[thing.name] = thing
    return named


def _natural(name: str) -> tuple[bool, int, str]:
    """Numbers by value, then words."""
    return not name.isdigit(), int(name) if name.isdigit() else 0, name
