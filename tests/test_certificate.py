"""The certificate says yes to a subject that is right by construction and names what was broken in another."""

from typing import Any

import pytest

import interpbench
from interpbench.cases.pairs import fresh_data
from interpbench.certificate import certify as certifying
from interpbench.certificate.certificate import Certificate, demands
from interpbench.certificate.certify import certify, necessity, shorter_inputs
from interpbench.graph import Circuit
from interpbench.transformer import Transformer
from tests.padded import padded

ROWS = 120


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every input of case 7."""
    monkeypatch.setattr(certifying, "EXHAUSTIVE", ROWS)


def unmet(certificate: Certificate) -> set[tuple[str, str, str]]:
    """What was replaced, by what, and the lowest of it, of every demand that is not met."""
    return {(each.replaced, each.by, each.lowest) for each in demands(certificate.to_json()) if not each.is_met}


def shares(certificate: Certificate) -> set[float | None]:
    return {each.share for each in demands(certificate.to_json())}


def test_a_subject_that_is_right_by_construction_is_certified() -> None:
    case, model, circuit = padded("4")
    certificate = certify(case, model, circuit, rows=ROWS)
    assert certificate.certified and unmet(certificate) == set()
    assert shares(certificate) == {1.0} == {certificate.exclusive, certificate.measurement.strict_all}
    assert certificate.reference_equals_program == 1.0
    assert certificate.liveliness.share_alive == 1.0
    told: list[Any] = []
    again = certify(case, model, circuit, rows=ROWS, progress=told.append)
    assert again == certificate, "same inputs, same numbers"
    assert [each["step"] for each in told] == list(range(told[0]["steps"])) and len(told) > 5


def test_a_constant_that_comes_in_from_outside_is_seen_by_zeros_alone() -> None:
    """What the compiled case 7 reads of BOS and of its constant one, the same in all runs, is no part of its circuit.

    Named as part of it, the subject is certified.
    """
    case, model, circuit = padded("7")
    certificate = certify(case, model, circuit, rows=ROWS)
    assert unmet(certificate) == {
        (f"all outside edges, {granularity}", "zero", "") for granularity in ("heads", "edges")
    }
    assert shares(certificate) == {0.0, 1.0} and not certificate.certified
    more = Circuit(circuit.graph, circuit.edges | {"embed->a0.h0<v>", "embed->m0"})
    certificate = certify(case, model, more, rows=ROWS)
    assert certificate.certified and shares(certificate) == {1.0}
    assert certificate.reference_equals_program == certificate.liveliness.share_alive == 1.0


def test_a_silent_head_that_matters_is_named() -> None:
    case, model, circuit = padded("4")
    weights = dict(model.weights)
    weights["blocks.1.attn.W_O"] = weights["blocks.1.attn.W_O"].clone()
    answer = model.weights["unembed.W_U"][:, 0].argmax()
    weights["blocks.1.attn.W_O"][2, :, answer] = 3.0
    certificate = certify(case, Transformer(model.config, weights), circuit, rows=ROWS)
    assert not certificate.certified
    assert certificate.measurement.strict["a1.h2"] < 0.95
    assert certificate.worst_edge["heads"].accuracy < 0.95
    assert {"each silent node", "each outside edge, heads"} < {replaced for replaced, *_ in unmet(certificate)}


def test_an_edge_that_matters_but_is_not_in_the_circuit_is_named() -> None:
    case, model, circuit = padded("7")
    certificate = certify(case, model, Circuit(circuit.graph, circuit.edges - {"embed->a0.h0<k>"}), rows=ROWS)
    assert certificate.measurement.accuracy == 1.0 and not certificate.certified
    assert certificate.worst_edge["edges"].edge == "embed->a0.h0<k>"
    assert certificate.measurement.edges < 0.99
    assert {("each outside edge, edges", "the source's", "embed->a0.h0<k>")} < unmet(certificate)


def test_a_variable_that_is_ignored_is_named() -> None:
    case, model, circuit = padded("4")
    weights = dict(model.weights)
    weights["blocks.1.attn.W_O"] = weights["blocks.1.attn.W_O"].clone()
    weights["blocks.1.attn.W_O"][1] = 0
    certificate = certify(case, Transformer(model.config, weights), circuit, rows=ROWS)
    assert not certificate.certified
    changed = certificate.measurement.iia_changed
    assert min(changed, key=changed.get) == "a1.h1"
    assert "each variable" in {replaced for replaced, *_ in unmet(certificate)}
    assert certificate.necessity["a1.h1->m1"] == 0.0


def test_necessity_of_an_edge_with_nothing_to_carry() -> None:
    """Attention over all earlier positions does not depend on the input: cutting its keys changes nothing."""
    case, model, circuit = padded("4")
    told = necessity(model, fresh_data(case, ROWS, 0), case.reference(), circuit)
    assert told["pos->a1.h0<k>"] == 0.0
    assert told["m1->logits"] == 1.0


def test_shorter_inputs_are_told_apart() -> None:
    """A compiled model is right at every length; with the embedding of one position spoiled it fails beyond it."""
    case = interpbench.load_case("3")
    reference = case.reference()
    assert shorter_inputs(case, reference.model, reference, seed=0, rows=50) == {"3": 1.0}
    assert shorter_inputs(interpbench.load_case("ioi"), reference.model, reference, seed=0) == {}, "all of one length"
    case = interpbench.load_case("7")
    reference = case.reference()
    weights = dict(reference.model.weights)
    weights["pos_embed.W_pos"] = weights["pos_embed.W_pos"].clone()
    weights["pos_embed.W_pos"][6:] += 3.0
    told = shorter_inputs(case, Transformer(reference.model.config, weights), reference, seed=0, rows=50)
    assert told["5"] == 1.0 > told["7"] and list(told) == ["3", "4", "5", "6", "7", "8"]


def test_data_are_exhaustive_where_inputs_are_few() -> None:
    few, many = (fresh_data(interpbench.load_case(name), 1000, 0) for name in ("3", "2"))
    assert few.exhaustive and len({tuple(row) for row in few.clean.tolist()}) == 256
    assert not many.exhaustive and len(many.clean) == 1000
    assert not few.scored[:, 0].any() and few.scored[:, 1:].all()


def test_the_first_of_all_inputs_are_a_sample_of_them() -> None:
    """Much is measured on the first rows. In the order of the alphabet these would all begin alike."""
    every = fresh_data(interpbench.load_case("14"), 20_000, 0)
    first = every.head(500).clean[:, 1]
    assert every.exhaustive and first.unique().tolist() == every.clean[:, 1].unique().tolist()
