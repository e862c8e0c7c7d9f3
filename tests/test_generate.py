"""`generate`: which subjects it makes, with what settings, and how it counts those that are accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import interpbench as ib
import interpbench.cli.train as training
from interpbench.catalogue import suites
from interpbench.catalogue.suites import frozen
from interpbench.cli import app
from interpbench.cli.generate import SETTINGS
from interpbench.runs.make import Asked


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What would be made; every other subject is certified."""
    made: list[Asked] = []

    def pretend(wanted: list[Asked], jobs: int, as_json: bool) -> tuple[Any, ...]:
        made.extend(wanted)
        good = ib.load_subject("3").card["certificate"]
        cards = {
            each.case: {"trainer": {"seconds": 10.0 * i}, "certificate": good | {"certified": i % 2 == 0}}
            for i, each in enumerate(wanted)
        }
        return cards, {}, {}

    monkeypatch.setattr(training, "train_many", pretend)
    return made


def told(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["generate", *arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def test_properties_levels_and_seeds(asked: list[Asked], tmp_path: Path) -> None:
    said = json.loads(
        told("--property", "gate,keys", "--level", "1,3", "--seeds", "4:6", "--out", str(tmp_path), "--json")
    )
    names = [f"{name}-{level}-{seed}" for name in ("gate", "keys") for level in (1, 3) for seed in (4, 5)]
    assert [each.case for each in asked] == names == list(said["subjects"])
    assert [each.folder for each in asked] == [tmp_path / name / "siit" for name in names]
    assert all(getattr(each.config, name) == value for each in asked for name, value in SETTINGS.items())
    assert [(row["property"], row["level"], row["subjects"], row["certified"]) for row in said["acceptance"]] == [
        ("gate", 1, 2, 1),
        ("gate", 3, 2, 1),
        ("keys", 1, 2, 1),
        ("keys", 3, 2, 1),
    ]
    assert [row["seconds"] for row in said["acceptance"]] == [5.0, 25.0, 45.0, 65.0]


def test_the_cases_of_a_suite_with_other_weights(asked: list[Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    some = dict(list(frozen("hard").items())[:3])
    monkeypatch.setattr(suites, "frozen", lambda suite: {"hard": some}[suite])
    told("--suite", "hard", "--training-seed", "7", "--seconds", "5")
    assert [each.case for each in asked] == list(some)
    assert {(each.config.seed, each.config.seconds) for each in asked} == {(7, 5.0)}


def test_only_what_is_not_bundled(asked: list[Asked]) -> None:
    told("--property", "gate", "--level", "1", "--seeds", "0:3", "--missing")
    assert "gate-1-0" in frozen("hard") and [each.case for each in asked] == ["gate-1-1", "gate-1-2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "quick"], "suite 'quick' does not hold generated cases"),
        (["--suite", "hrd"], "did you mean 'hard'"),
        (["--suite", "hard", "--level", "2"], "leave out --property, --level and --seeds"),
        (["--property", "gats"], "did you mean 'gate'"),
        (["--seeds", "5:5"], "expected FROM:TO"),
        (["--level", "x"], "level is 'x', expected a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: list[Asked], arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["generate", *arguments])
    assert message in str(result.exception) + result.output and result.exit_code != 0
    assert not asked
