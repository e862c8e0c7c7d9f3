"""Runs read from disk, and what to call the methods that made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpbench.errors import InterpbenchError, UsageError
from interpbench.runs import store

if TYPE_CHECKING:
    from interpbench.graph.circuit import EdgeScores

METRICS = (
    *("heads.auroc", "heads.average_precision", "edges.auroc", "edges.average_precision", "nodes.auroc"),
    *("heads.chosen.tpr", "heads.chosen.fpr", "heads.chosen.f1", "paper.area", "mib.auroc", "mib.cpr", "mib.cmd"),
)
"""Numbers of a run that are compared, by their place in `metrics`. Higher is better but for `fpr` and `cmd`."""

SETTINGS = ("model", "ablation", "samples", "unique", "protocol")
"""What distinguishes methods beside the technique and its configuration, where it differs."""


@dataclass(frozen=True, eq=False)
class Run:
    """A complete run: the content of its run.json, its folder, and the method's name among those reported with it."""

    record: Mapping[str, Any]
    folder: Path
    method: str

    @property
    def case(self) -> str:
        """The case's name."""
        return self.record["case"]

    def number(self, metric: str) -> float | None:
        """One of `METRICS`; None where it is undefined or was not measured."""
        value: Any = self.record["metrics"]
        for part in metric.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    @cached_property
    def scores(self) -> EdgeScores:
        """The edge scores. Raises InterpbenchError if they are damaged."""
        stored = store.read(self.folder)
        if stored is None:
            raise InterpbenchError(f"{self.folder}: the run has gone")
        return stored[1]


@dataclass(frozen=True)
class Failure:
    """A run that failed: which (its folder's path below the root), and the last line of what was raised."""

    run: str
    error: str


def read_runs(roots: Sequence[Path]) -> tuple[list[Run], list[Failure], int]:
    """All complete runs below some folders, in order of case, method and seed; failures; how many were left out.

    Left out are runs on weights or programs that newer runs of the same case and model have replaced. Raises UsageError
    for a folder that does not exist or holds no run, InterpbenchError for a damaged run.
    """
    found: list[tuple[Path, dict[str, Any]]] = []
    failures = []
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"no folder {root}; `interpbench bench` and `run` make one")
        for path in sorted(root.glob(f"**/{store.RUN}")):
            found.append((path.parent, _record(path)))
        for path in sorted(root.glob(f"**/{store.ERROR}")):
            if not (path.parent / store.RUN).exists():
                last = path.read_text().strip().splitlines()[-1:]
                failures.append(Failure(str(path.parent.relative_to(root)), last[0] if last else "unknown"))
    if not found and not failures:
        raise UsageError(f"no run in {', '.join(map(str, roots))}; `interpbench bench` and `run` make them")
    current = _newest(found)
    kept = [each for each in found if each[1]["digest"] in current]
    return name_runs(kept), failures, len(found) - len(kept)


def read_folders(folders: Iterable[Path]) -> list[Run]:
    """The complete runs among some run folders. Raises InterpbenchError for a damaged one."""
    there = [folder for folder in folders if (folder / store.RUN).exists()]
    return name_runs([(folder, _record(folder / store.RUN)) for folder in there])


def name_runs(found: Sequence[tuple[Path, Mapping[str, Any]]]) -> list[Run]:
    """Runs in order of case, method and seed, each method named by the technique and what sets it apart."""
    names = method_names([record for _, record in found])
    runs = [Run(record, folder, name) for (folder, record), name in zip(found, names, strict=True)]
    return sorted(runs, key=lambda run: (case_order(run.case), run.method, run.record["seed"], run.record["digest"]))


def method_names(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """For every record its technique, the options and versions in which runs of that technique differ, and the
    settings in which any runs differ: `eap loss=kl [tracr, 100]`.
    """
    differing = [name for name in SETTINGS if len({record[name] for record in records}) > 1]
    options, versions = {}, {}
    for technique in {record["technique"] for record in records}:
        seen = [record for record in records if record["technique"] == technique]
        options[technique] = _differing([record["config"] for record in seen])
        versions[technique] = {record["technique_version"] for record in seen}
    names = []
    for record in records:
        technique = record["technique"]
        told = [f"{key.rstrip('_')}={_short(record['config'].get(key))}" for key in options[technique]]
        settings = [_short(record[name]) for name in differing]
        settings += [record["technique_version"]] if len(versions[technique]) > 1 else []
        names.append(" ".join([technique, *told, *([f"[{', '.join(settings)}]"] if settings else [])]))
    return names


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Options that do not have the same value in all configurations."""
    names = dict.fromkeys(name for config in configs for name in config)
    return [name for name in names if len({str(config.get(name)) for config in configs}) > 1]


def case_order(name: str) -> tuple[int, int, str]:
    """Numbered cases by number, then the others by name."""
    return (0, int(name), "") if name.isdecimal() else (1, 0, name)


def _short(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _record(path: Path) -> dict[str, Any]:
    stored = store.read_record(path.parent)
    if stored is None:
        raise InterpbenchError(f"{path}: the run has gone")
    return dict(stored)


def _newest(found: Sequence[tuple[Path, Mapping[str, Any]]]) -> set[str]:
    """Digests of the runs on the weights and program that each case and model was run on last."""
    last: dict[tuple[str, str], tuple[float, Any]] = {}
    for folder, record in found:
        when = (folder / store.RUN).stat().st_mtime
        key = (record["case"], record["model"])
        last[key] = max(last.get(key, (0.0, "")), (when, (record["weights_hash"], record["program_digest"])))
    return {
        record["digest"]
        for _, record in found
        if last[record["case"], record["model"]][1] == (record["weights_hash"], record["program_digest"])
    }
