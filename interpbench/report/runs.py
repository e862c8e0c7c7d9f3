"""Runs read from disk, each with the name of its method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interpbench.errors import UsageError
from interpbench.runs import store
from interpbench.runs.record import Record
from interpbench.runs.store import StoredRun

METRICS = (
    *("heads.auroc", "heads.average_precision", "edges.auroc", "edges.average_precision", "nodes.auroc"),
    *("heads.chosen.tpr", "heads.chosen.fpr", "heads.chosen.f1", "paper.area", "mib.auroc", "mib.cpr", "mib.cmd"),
)
"""Metrics that are compared, as paths into a run's `metrics`. Higher is better, except for `fpr` and `cmd`."""

SETTINGS = ("model", "ablation", "samples", "unique", "protocol")
"""Settings that appear in a method's name, beside its technique and configuration, if they differ between runs."""


@dataclass(frozen=True, eq=False)
class Run:
    """A complete run, and the name of its method among the runs reported with it."""

    stored: StoredRun
    method: str

    @property
    def record(self) -> Record:
        """The content of run.json."""
        return self.stored.record

    @property
    def case(self) -> str:
        """The case's name."""
        return self.record["case"]

    def number(self, metric: str) -> float | None:
        """One of `METRICS`; None where it is undefined or was not measured."""
        return number(self.record, metric)


def number(record: Mapping[str, Any], metric: str) -> float | None:
    """One of `METRICS` of a run; None where it is undefined or was not measured."""
    value: Any = record["metrics"]
    for part in metric.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


@dataclass(frozen=True)
class Failure:
    """A failed run: the path of its folder below the root, and the last line of its traceback."""

    run: str
    error: str


def read_runs(roots: Sequence[Path]) -> tuple[list[Run], list[Failure], int]:
    """All current runs below some folders, in order of case, method and seed; the failures; the number left out.

    A run is left out if newer runs of its case and model used other weights or another program. Raises UsageError for
    a folder that does not exist or holds no run, InterpbenchError for a damaged run.
    """
    found: list[StoredRun] = []
    failures: list[Failure] = []
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"no folder {root}; `interpbench bench` and `run` make one")
        found += _stored(path.parent for path in sorted(root.glob(f"**/{store.RUN}")))
        failures += _failures(root)
    if not found and not failures:
        raise UsageError(f"no run in {', '.join(map(str, roots))}; `interpbench bench` and `run` make them")
    current = _newest(found)
    kept = [run for run in found if run.record["digest"] in current]
    return _named(kept), failures, len(found) - len(kept)


def read_folders(folders: Iterable[Path]) -> list[Run]:
    """The complete runs among some run folders. Raises InterpbenchError for a damaged one."""
    return _named(_stored(folders))


def _stored(folders: Iterable[Path]) -> list[StoredRun]:
    return [run for folder in folders if (run := store.read(folder)) is not None]


def _failures(root: Path) -> list[Failure]:
    failures = []
    for path in sorted(root.glob(f"**/{store.ERROR}")):
        if not (path.parent / store.RUN).exists():
            last = path.read_text().strip().splitlines()[-1:]
            failures.append(Failure(str(path.parent.relative_to(root)), last[0] if last else "unknown"))
    return failures


def _named(found: Sequence[StoredRun]) -> list[Run]:
    """Runs with the names of their methods, in order of case, method and seed."""
    names = method_names([run.record for run in found])
    runs = [Run(run, name) for run, name in zip(found, names, strict=True)]
    return sorted(runs, key=lambda run: (case_order(run.case), run.method, run.record["seed"], run.record["digest"]))


def method_names(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for the method of every record, such as `eap loss=kl [tracr, 100]`.

    It holds the technique, the options and versions that differ between runs of that technique, and the settings that
    differ between any runs.
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
        chosen = [f"{key.rstrip('_')}={_short(record['config'].get(key))}" for key in options[technique]]
        settings = [_short(record[name]) for name in differing]
        settings += [record["technique_version"]] if len(versions[technique]) > 1 else []
        names.append(" ".join([technique, *chosen, *([f"[{', '.join(settings)}]"] if settings else [])]))
    return names


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Options whose value differs between the configurations."""
    names = dict.fromkeys(name for config in configs for name in config)
    return [name for name in names if len({str(config.get(name)) for config in configs}) > 1]


def case_order(name: str) -> tuple[int, int, str]:
    """Numbered cases by number, then the others by name."""
    return (0, int(name), "") if name.isdecimal() else (1, 0, name)


def _short(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _newest(found: Sequence[StoredRun]) -> set[str]:
    """Digests of the runs on the weights and program that were used last for their case and model."""

    def used(run: StoredRun) -> tuple[str, str]:
        return run.record["weights_hash"], run.record["program_digest"]

    last: dict[tuple[str, str], tuple[float, tuple[str, str]]] = {}
    for run in found:
        when = (run.folder / store.RUN).stat().st_mtime
        key = (run.record["case"], run.record["model"])
        last[key] = max(last.get(key, (0.0, ("", ""))), (when, used(run)))
    return {run.record["digest"] for run in found if last[run.record["case"], run.record["model"]][1] == used(run)}
