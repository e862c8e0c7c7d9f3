"""The bundled subjects: what their cards say holds, and the techniques find their circuits."""

import math
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

import interpbench
from interpbench.cases.pairs import fresh_data
from interpbench.catalogue.facts import facts_of
from interpbench.catalogue.suites import frozen, suite_cases
from interpbench.certificate.certificate import THRESHOLD, VERSION, Headline, demands, version_of
from interpbench.certificate.certify import outside_under
from interpbench.certificate.classify import ON_CARD
from interpbench.certificate.interventions import where_defined
from interpbench.certificate.measure import masks_of, measure, strictness
from interpbench.plugins.registry import load
from interpbench.properties.generated import parts_of
from interpbench.subjects.card import loudness
from interpbench.subjects.classes import stated_classes
from interpbench.subjects.zoo import ZOO, bundled, load_subject, stored_card

BUNDLED = sorted((path.parent.parent.name, path.parent.name) for path in ZOO.glob("*/*/card.json"))
QUICK = [case.name for case in suite_cases("quick", load())]
SAMPLE = [bundled for i, bundled in enumerate(BUNDLED) if i % 12 == 0 or bundled[0] in (*QUICK, "2", "ioi")]
"""Those that are run here; `-m slow` runs all."""
ROWS, FEW, LARGE = 300, 100, 1000
"""Rows on which a card's numbers are measured again, and rows for a subject of more edges than the last."""


def test_the_first_suite_and_ioi_are_bundled() -> None:
    assert {(name, "siit") for name in [*QUICK, "2", "ioi"]} <= set(BUNDLED)


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
    assert certificate["rows"] >= 500 and certificate["threshold"] == THRESHOLD
    assert certificate["certified"] == all(demand.is_met for demand in demands(certificate))
    for ablation in ON_CARD if version_of(certificate) == VERSION else ():
        classes = stated_classes(subject, ablation)
        assert classes is not None and classes.ablation == ablation
        assert classes.of_edges == card["edge_classes"][ablation]["classes"]
        assert (classes.of_edges is None) == (classes.bare < THRESHOLD)
        assert classes.together is None or classes.together >= THRESHOLD


def test_on_resampled_inputs_all_but_a_few_hold() -> None:
    """What version 1 demanded. What version 2 demands beyond it was no aim when these subjects were trained."""
    short = set()
    for name in (name for name, kind in BUNDLED if kind == "siit"):
        resampled = demands(load_card(name, "siit")["certificate"] | {"version": 1})
        assert len(resampled) == 7 and {each.by for each in resampled} == {"", "the source's"}
        short |= set() if all(each.is_met for each in resampled) else {name}
    assert short == {"22", "89", "ioi"}


def test_subjects_of_the_second_generation_are_certified_and_loud() -> None:
    """Those whose silent nodes keep their weights, or learn them slowly."""
    cards = {name: load_card(name, kind) for name, kind in BUNDLED if kind == "siit"}
    second = {name for name in cards if {"silent_rate", "silent_fixed"} & cards[name]["trainer"]["config"].keys()}
    assert len(second) >= 95
    for name in second:
        assert Headline.of_card(cards[name]).certified, name
        assert (loudness(cards[name]) or 1.0) >= 0.5, name


def test_the_certified_suite_is_what_the_cards_say() -> None:
    """A certificate of an older version does not count."""
    cards = {name: load_card(name, kind)["certificate"] for name, kind in BUNDLED if kind == "siit"}
    certified = {name for name, each in cards.items() if each["certified"] and version_of(each) == VERSION}
    assert {case.name for case in suite_cases("certified", load())} == certified & load().cases.keys()


def test_the_suite_hard_is_bundled_certified_and_of_its_programs() -> None:
    names, test = frozen("hard"), frozen("hard-test")
    assert names and len(test) >= 60 and not names.keys() & test.keys()
    assert all(bundled(name) for name in names)
    for name, digest in (names | {name: digest for name, digest in test.items() if bundled(name)}).items():
        card = load_card(name, "siit")
        assert Headline.of_card(card).certified and card["program_digest"] == digest, name


def test_hard_test_is_of_other_seeds_and_of_its_programs() -> None:
    known = load().properties
    parts = {suite: [parts_of(name, known) for name in frozen(suite)] for suite in ("hard", "hard-test")}
    seeds = {suite: {each[2] for each in own if each is not None} for suite, own in parts.items()}
    assert max(seeds["hard"]) < min(seeds["hard-test"]) and None not in parts["hard-test"]
    some = list(frozen("hard-test").items())[::8]
    assert all(load().case(name).reference().digest == digest for name, digest in some)


def load_card(name: str, kind: str) -> dict[str, Any]:
    card = stored_card(load().case(name), kind)
    assert card is not None
    return card


def measured_anew(name: str, kind: str) -> None:
    subject = load_subject(name, kind)
    reference, certificate = subject.case.reference(), subject.card["certificate"]
    assert tuple(subject.classes or ()) == tuple(reference.classes or ())
    assert subject.circuit == reference.circuit(subject.model.graph)
    rows = FEW if subject.model.graph.n_edges > LARGE else ROWS
    data = fresh_data(subject.case, rows, seed=99).head(rows)
    masks = masks_of(reference, subject.circuit)
    measured = measure(subject.model, data, reference, masks)
    names = ("accuracy", "iia_min", "strict_min", "edges_heads", "edges")
    pairs = {key: (getattr(measured, key), certificate[key]) for key in names}
    if version_of(certificate) == VERSION:
        answer = reference.outputs(data.clean)
        on_answer = where_defined(reference, data, answer)
        permuted = strictness(subject.model, on_answer.with_permuted_places(99), answer, masks)
        pairs |= {f"positions {key}": (getattr(permuted, key), certificate["positions"][key]) for key in names[2:]}
        for ablation in ("mean", "zero"):
            share = outside_under(subject.model, on_answer, answer, masks, ablation).edges
            pairs[ablation] = share, certificate[ablation]["edges"]
    for key, (again, share) in pairs.items():
        deviation = math.sqrt(share * (1 - share) * (1 / rows + 1 / certificate["rows"]))
        assert again == pytest.approx(share, abs=0.01 + 4 * deviation), key


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
    assert Headline.of_card(made.card).certified == Headline.of_card(card).certified
    if made.card["weights_hash"] != card["weights_hash"]:
        bundled = load_subject(name)
        with torch.no_grad():
            tokens = torch.tensor(made.case.pairs(50, 0)[0])
            assert torch.allclose(made.model(tokens)[:, 1:], bundled.model(tokens)[:, 1:], atol=0.1)
