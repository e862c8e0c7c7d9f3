"""The bundled subjects: what their cards say holds, and the techniques find their circuits."""

import math
import shlex
from pathlib import Path

import pytest
import torch

import interpbench
from interpbench.cases.pairs import fresh_data
from interpbench.catalogue.facts import facts_of
from interpbench.catalogue.suites import suite_cases
from interpbench.certificate.certificate import THRESHOLD
from interpbench.certificate.measure import masks_of, measure
from interpbench.plugins.registry import load
from interpbench.subjects.zoo import ZOO, load_subject

BUNDLED = sorted((path.parent.parent.name, path.parent.name) for path in ZOO.glob("*/*/card.json"))
QUICK = [case.name for case in suite_cases("quick", load().cases)]
SAMPLE = [bundled for i, bundled in enumerate(BUNDLED) if i % 12 == 0 or bundled[0] in (*QUICK, "2", "ioi")]
"""Those that are run here; `-m slow` runs all."""
ROWS = 300


def test_the_first_suite_and_ioi_are_bundled() -> None:
    assert {(name, "siit") for name in [*QUICK, "2", "ioi", "ioi_next_token"]} <= set(BUNDLED)


@pytest.mark.parametrize(("name", "kind"), BUNDLED)
def test_the_card_fits_its_files_and_this_program(name: str, kind: str) -> None:
    subject = load_subject(name, kind)
    card, facts = subject.card, facts_of(subject.case)
    assert card["program_digest"] == facts["program_digest"]
    assert card["command"].startswith(f"interpbench train {kind} --case {name}")
    assert {part: int(subject.circuit.members(part).sum()) for part in ("edges", "heads", "nodes")} == {
        part: facts[part] for part in ("edges", "heads", "nodes")
    }
    certificate = card["certificate"]
    assert certificate["rows"] >= 500
    lowest = [certificate[key] for key in ("accuracy", "iia_min", "strict_min", "edges_heads")]
    lowest.append(certificate["worst_edge"]["heads"]["accuracy"])
    assert certificate["certified"] == (min(lowest) >= THRESHOLD)


def measured_anew(name: str, kind: str) -> None:
    subject = load_subject(name, kind)
    reference, certificate = subject.case.reference(), subject.card["certificate"]
    assert tuple(subject.classes or ()) == tuple(reference.classes or ())
    assert subject.circuit == reference.circuit(subject.model.graph)
    data = fresh_data(subject.case, ROWS, seed=99).head(ROWS)
    measured = measure(subject.model, data, reference, masks_of(reference, subject.circuit))
    for key in ("accuracy", "iia_min", "strict_min", "edges_heads", "edges"):
        share = certificate[key]
        deviation = math.sqrt(share * (1 - share) * (1 / ROWS + 1 / certificate["rows"]))
        assert getattr(measured, key) == pytest.approx(share, abs=0.01 + 4 * deviation), key


@pytest.mark.parametrize(("name", "kind"), SAMPLE)
def test_the_cards_numbers_come_again(name: str, kind: str) -> None:
    measured_anew(name, kind)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), sorted(set(BUNDLED) - set(SAMPLE)))
def test_every_cards_numbers_come_again(name: str, kind: str) -> None:
    measured_anew(name, kind)


@pytest.mark.parametrize(("name", "kind"), SAMPLE)
def test_predictions_are_the_programs(name: str, kind: str) -> None:
    subject = load_subject(name, kind)
    inputs = subject.case.decode(subject.case.pairs(50, 7)[0])
    answers = subject.predict(inputs)
    right = total = 0
    for tokens, told in zip(inputs, answers, strict=True):
        for value, expected in zip(told, subject.case.expected(tokens), strict=True):
            assert subject.case.partial or (value is None) == (expected is None)
            if expected is not None:
                total += 1
                right += abs(value - expected) < 0.05 if subject.case.output == "numerical" else value == expected
    assert right / total >= subject.card["certificate"]["accuracy"] - 0.03


def test_silent_nodes_are_alive() -> None:
    """Silent is not dead: most outputs of silent nodes vary with the input."""
    shares = [load_subject(*bundled).card["certificate"]["liveliness"]["share_alive"] for bundled in BUNDLED]
    assert sorted(shares)[len(shares) // 2] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["3", "4"])
def test_the_cards_command_makes_the_same_subject(name: str, tmp_path: Path) -> None:
    """To the last bit on the machine that made it; elsewhere as good."""
    from typer.testing import CliRunner

    from interpbench.cli import app

    card = load_subject(name).card
    arguments = shlex.split(card["command"])[1:]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "subject")])
    assert result.exit_code == 0, result.output
    made = interpbench.load_subject(name, model=str(tmp_path / "subject"))
    assert made.card["certificate"]["certified_edges"] == card["certificate"]["certified_edges"]
    if made.card["weights_hash"] != card["weights_hash"]:
        bundled = load_subject(name)
        with torch.no_grad():
            tokens = torch.tensor(made.case.pairs(50, 0)[0])
            assert torch.allclose(made.model(tokens)[:, 1:], bundled.model(tokens)[:, 1:], atol=0.1)
