"""Runs read from disk, each with the name of its method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from interpbench.errors import UsageError, brief, unknown
from interpbench.report.folders import Failure, read_below, read_each
from interpbench.runs import store
from interpbench.runs.record import Record
from interpbench.runs.store import StoredRun

METRICS = (
    *("heads.identifiable.auroc", "heads.identifiable.average_precision", "heads.auroc", "heads.average_precision"),
    *("edges.identifiable.auroc", "edges.identifiable.average_precision", "edges.auroc", "edges.average_precision"),
    *("nodes.identifiable.auroc", "nodes.auroc"),
    *("chosen.false_edges", "chosen.core_found", "chosen.sufficient", "chosen.exact"),
    *("heads.chosen.tpr", "heads.chosen.fpr", "heads.chosen.f1", "paper.area", "mib.auroc", "mib.cpr", "mib.cmd"),
)
"""Metrics that are compared, as paths into a run's `metrics`. Yes and no count 1 and 0. Lower is better for those in
`LOWER`, else higher."""

LOWER = ("chosen.false_edges", "heads.chosen.fpr", "mib.cmd")
"""Metrics of which the lower number is the better one."""

SETTINGS = ("model", "ablation", "samples", "unique", "protocol")
"""Settings that appear in a method's name, beside its technique and configuration, if they differ between runs."""

CUSTOM = "custom"
"""The `model` of a subject in a folder of one's own."""


class SubjectId(NamedTuple):
    """What tells one subject from another."""

    case: str
    model: str
    subject: str
    weights_hash: str
    truth_hash: str

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> SubjectId:
        """The subject of a run."""
        return cls(*(record[name] for name in cls._fields))


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
    """One of `METRICS` of a run, yes and no as 1 and 0; None where it is undefined or was not measured."""
    value: Any = record["metrics"]
    for part in metric.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, bool) else value


def other_form(metric: str) -> str | None:
    """By construction for an identifiable metric, and the reverse; None for a metric that has one form only."""
    where, _, what = metric.rpartition(".")
    other = metric.replace(".identifiable", "") if ".identifiable" in metric else f"{where}.identifiable.{what}"
    return other if other in METRICS else None


def read_runs(roots: Sequence[Path], techniques: Sequence[str] = ()) -> tuple[list[Run], list[Failure], int]:
    """All current runs below some folders, in order of case, method and seed; the failures; the number left out.

    With `techniques`, only runs of these. A run is left out if newer runs of its case and model used other weights,
    another true circuit, program or certificate. Subjects in folders are all compared: there a run is left out only for
    a newer one of the same subject. Raises UsageError for a folder that does not exist or holds no run, and for a
    technique without a run.
    """
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"no folder {root}; `interpbench bench` and `run` make one")
    found, failures = read_below(roots)
    if not found and not failures:
        raise UsageError(f"no run in {', '.join(map(str, roots))}; `interpbench bench` and `run` make them")
    there = sorted({run.record["technique"] for run in found})
    for name in techniques:
        if name not in there:
            raise UsageError(f"{unknown('run of technique', name, there)}; there are: {', '.join(there) or 'none'}")
    current = _current(found)
    chosen = [run for run in found if run.record["technique"] in (techniques or there)]
    kept = [run for run in chosen if _made_with(run) in current]
    return named(kept), failures, len(chosen) - len(kept)


def read_folders(subjects: Mapping[Path, str], root: Path) -> tuple[list[Run], list[Failure]]:
    """The complete runs among some run folders below a root, and a failure for every damaged one.

    Each has the name of its subject beside it: a run may be stored under another name of the same subject.
    """
    found, failures = read_each(subjects, root)
    renamed = [replace(run, record={**run.record, "subject": subjects[run.folder]}) for run in found]
    return named(renamed), failures


def named(found: Sequence[StoredRun]) -> list[Run]:
    """Runs with the names of their methods, in order of case, method and seed; baselines after the others."""
    names = method_names([run.record for run in found])
    runs = [Run(run, name) for run, name in zip(found, names, strict=True)]
    return sorted(runs, key=_order)


def _order(run: Run) -> tuple[Any, ...]:
    return case_order(run.case), run.record["baseline"], run.method, run.record["seed"], run.record["digest"]


def method_names(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for the method of every record, such as `eap loss=kl [tracr, 100]`.

    It holds the technique, the options and versions that differ between runs of that technique, and the settings that
    differ between any runs. Where there are several subjects of a case and model, it says which.
    """
    differing = [name for name in SETTINGS if len({record[name] for record in records}) > 1]
    options, versions = {}, {}
    for technique in {record["technique"] for record in records}:
        seen = [record for record in records if record["technique"] == technique]
        options[technique] = _differing([record["config"] for record in seen])
        versions[technique] = {record["technique_version"] for record in seen}
    subjects = _subject_names({SubjectId.of(record) for record in records})
    names = []
    for record in records:
        technique = record["technique"]
        chosen = [f"{key.rstrip('_')}={_short(record['config'].get(key))}" for key in options[technique]]
        settings = [_short(record[name]) for name in differing] + subjects[SubjectId.of(record)]
        settings += [record["technique_version"]] if len(versions[technique]) > 1 else []
        names.append(" ".join([technique, *chosen, *([f"[{', '.join(settings)}]"] if settings else [])]))
    return names


def _subject_names(subjects: Iterable[SubjectId]) -> dict[SubjectId, list[str]]:
    """What tells each subject from the others of its model: nothing if no case has several subjects of that model.

    Else its name, which is the same for the subjects of a suite (`mine/{case}`). If two of a case have the same name,
    the first digits of the hash of the weights are added, and of the truth if these have the same weights.
    """
    groups: dict[tuple[str, str], list[SubjectId]] = {}
    for each in subjects:
        groups.setdefault((each.case, each.model), []).append(each)
    shared = {model for (_, model), group in groups.items() if len(group) > 1}
    names: dict[SubjectId, list[str]] = {}
    for (_, model), group in groups.items():
        for each in group:
            alike = [one for one in group if one.subject == each.subject]
            same = [one for one in alike if one.weights_hash == each.weights_hash]
            hashes = [each.weights_hash[:6]] * (len(alike) > 1) + [each.truth_hash[:6]] * (len(same) > 1)
            names[each] = [" ".join([brief(each.subject, 250), *hashes])] if model in shared else []
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


def _made_with(run: StoredRun) -> tuple[str, ...]:
    """Which subject a run is on, and then what may have been replaced since: its program and its certificate."""
    record = run.record
    since = (record["program_digest"], record["certified"], record["certificate_version"])
    return (*SubjectId.of(record), *map(str, since))


def _current(found: Iterable[StoredRun]) -> set[tuple[str, ...]]:
    """What the last run of each case and model was made with; of models in folders, the last of each subject."""
    last: dict[tuple[str, ...], tuple[float, tuple[str, ...]]] = {}
    for run in found:
        made_with, when = _made_with(run), (run.folder / store.RUN).stat().st_mtime
        key = SubjectId.of(run.record) if run.record["model"] == CUSTOM else made_with[:2]
        last[key] = max(last.get(key, (when, made_with)), (when, made_with))
    return {made_with for _, made_with in last.values()}
