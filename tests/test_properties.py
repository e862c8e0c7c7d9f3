"""Causal models as data, drawn with planted properties: two routes to every answer, filters, names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interpbench import UsageError, load_case
from interpbench.cases.flow import NONE, PLACE, TOKEN, Compute, Draw, Flow, Look, Table
from interpbench.cases.flow_reference import FlowReference
from interpbench.errors import InterpbenchError
from interpbench.properties import Property, Sketch
from interpbench.properties.accept import rejected
from interpbench.properties.generated import draw, generated_case
from interpbench.properties.planted import PROPERTIES
from interpbench.testing import check_case

EVERY = [(each, level) for each in PROPERTIES for level in range(1, len(each.levels) + 1)]
IDS = [f"{each.name}-{level}" for each, level in EVERY]


def test_there_are_ten_properties_at_three_levels() -> None:
    assert len(PROPERTIES) >= 10 and all(len(each.levels) == 3 for each in PROPERTIES)
    assert len({each.name for each in PROPERTIES}) == len(PROPERTIES)


@pytest.mark.parametrize(("property", "level"), EVERY, ids=IDS)
def test_both_routes_answer_alike(property: Property, level: int) -> None:
    """One input at a time in plain Python, and all at once in NumPy."""
    case = load_case(f"{property.name}-{level}-5")
    clean, _ = case.pairs(20, 3)
    outputs = case.reference().outputs(torch.tensor(clean))[:, 1:]
    told = np.array([case.expected(tokens) for tokens in case.decode(clean)])
    answers = outputs.squeeze(-1).numpy() if case.output == "numerical" else outputs.argmax(-1).numpy()
    assert np.allclose(told, answers)


@pytest.mark.parametrize(("property", "level"), EVERY[::4], ids=IDS[::4])
def test_a_generated_case_is_a_case(property: Property, level: int) -> None:
    check_case(load_case(f"{property.name}-{level}-1"))


def test_a_name_says_which_case_it_is() -> None:
    one, again, other = (load_case(name).reference().digest for name in ("gate-2-3", "gate-2-3", "gate-2-4"))
    assert one == again != other
    known = {each.name: each for each in PROPERTIES}
    assert generated_case("gate-2-3", known) is not None
    for name in ("gate", "gate-2", "gate-02-3", "nothing-1-1", "gate-2-3-4"):
        assert generated_case(name, known) is None
    for name in ("gate-4-0", "gate-0-0"):
        with pytest.raises(UsageError, match="has the levels 1 to 3, not"):
            load_case(name)


def test_an_interchange_takes_one_variable_from_the_source() -> None:
    case = load_case("redundancy-2-0")
    reference = case.reference()
    clean, source = map(torch.tensor, case.pairs(50, 0))
    names = list(reference.variables)
    last = torch.full((50,), len(names) - 1)
    answers = reference.outputs(clean, source, last).argmax(-1)
    assert torch.equal(answers, reference.outputs(source).argmax(-1)), "the last variable is the answer"
    first = torch.zeros(50, dtype=torch.long)
    assert torch.equal(reference.outputs(clean, source, first), reference.outputs(clean)), "two copies outvote one"


def flow(variables: dict[str, Look | Compute], votes: str, **facts: object) -> Flow:
    shape = {"n_layers": 2, "n_heads": 2, "d_model": 16, "d_head": 8, "d_mlp": 32}
    made = Flow(4, 4, variables, {votes: 10.0}, 4, shape)
    return replace(made, **facts)  # type: ignore[arg-type]


def same(size: int) -> Table:
    return Table.of([size], size, lambda value: value)


def test_what_says_nothing_is_rejected() -> None:
    constant = Compute((TOKEN,), Table.of([4], 4, lambda t: None if t is None else 0))
    identity = Compute((TOKEN,), same(4))
    assert rejected(flow({"m0": constant}, "m0")) == "one answer nearly always"
    silent = Compute((TOKEN,), Table.of([4], 4, lambda t: None if t == 1 else t))
    assert rejected(flow({"m0": silent}, "m0")) == "inputs without an answer"
    unread = {"m0": identity, "m1": Compute((TOKEN,), same(4))}
    assert rejected(flow(unread, "m1")) == "variables that change nothing, even together"
    after = Table.of([4], 4, lambda t: None if t is None else (t + 1) % 4)
    finds = {
        "a0.h0": Look((TOKEN,), after, TOKEN, PLACE, same(5)),
        "m0": Compute(("a0.h0",), Table.of([5], 5, lambda p: p or 0)),
    }
    assert rejected(flow(finds, "m0", classes=5)) == "a head that finds several keys"
    assert rejected(flow(finds, "m0", classes=5, draw=Draw(distinct=True))) is None
    ignored = Compute((TOKEN, PLACE), Table.of([4, 5], 4, lambda t, _: t))
    assert rejected(flow({"m0": ignored}, "m0")) == "an edge that changes nothing"
    assert rejected(flow({"m0": identity}, "m0")) is None


def test_rejections_are_counted_and_end() -> None:
    def make(level: int, rng: np.random.Generator) -> Flow:
        values = Table.of([4], 4, lambda t: None if t is None else 0 if level == 2 or rng.random() < 0.5 else t)
        return flow({"m0": Compute((TOKEN,), values)}, "m0")

    odd = Property("odd", "half of the tokens forgotten", "nothing", ("one", "two"), make)
    counts = [len(draw(odd, 1, seed).rejections) for seed in range(5)]
    assert max(counts) > 0
    with pytest.raises(InterpbenchError, match="all of 50 models rejected .one answer nearly always."):
        draw(odd, 2, 0)


def test_a_function_that_fails_is_named() -> None:
    def make(level: int, rng: np.random.Generator) -> Flow:
        return flow({"m0": Compute((TOKEN,), Table.of([4], 4, lambda t: t + level))}, "m0")

    forgot = Property("forgot", "that BOS has no value", "nothing", ("one",), make)
    with pytest.raises(InterpbenchError, match="property 'forgot' at level 1, seed 3: TypeError: unsupported operand"):
        draw(forgot, 1, 3)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_draws_are_as_they_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = Draw(copies=((1, 3, 4),), rare=((0, 2, 0.25),))(rng, 400, 8, 6)
    assert (tokens[:, 1] == tokens[:, 3]).all() and (tokens[:, 1] == tokens[:, 4]).all()
    assert abs((tokens[:, 0] == 2).mean() - 0.25) < 0.12 and set(tokens.ravel()) <= set(range(8))
    distinct = Draw(distinct=True)(rng, 50, 8, 6)
    assert all(len(set(row)) == 6 for row in distinct.tolist())


def test_a_sketch_puts_every_variable_after_what_it_reads() -> None:
    sketch = Sketch(np.random.default_rng(0), heads=2)
    first = sketch.earlier(1)
    joined = sketch.compute((first, TOKEN), 8, lambda x, y: None if None in (x, y) else (x + y) % 8)
    second = sketch.pointed_at(joined)
    more = [sketch.earlier(by) for by in (2, 3)]
    assert first.startswith("a0.") and joined == "m0" and second.startswith("a1.")
    assert [each.partition(".")[0] for each in more] == ["a0", "a1"], "a layer of two heads is full"
    made = sketch.finish(second, 8)
    assert made.shape["n_layers"] == 3 and f"{joined}->{second}<q>" in made.edges and f"pos->{second}<k>" in made.edges


def test_what_is_read_must_be_there() -> None:
    with pytest.raises(ValueError, match="m0 reads a0.h0, which is not computed before it"):
        flow({"m0": Compute(("a0.h0",), same(4))}, "m0")
    with pytest.raises(ValueError, match="votes of m1, which nothing computes"):
        flow({"m0": Compute((TOKEN,), same(4))}, "m1")


def test_where_nothing_fits_a_head_takes_nothing() -> None:
    look = Look((TOKEN,), Table.of([4], 4, lambda t: None if t == 3 else t), TOKEN, TOKEN, same(4))
    made = flow({"a0.h0": look}, "a0.h0")
    assert made.values([3, 1, 3, 0])["a0.h0"] == [NONE, NONE, 1, NONE, 0]
    reference = FlowReference(made, (0, 1, 2, 3, "BOS", "PAD"))
    logits, readings = reference.outputs_and_readings(torch.tensor([[4, 3, 1, 3, 0]]))
    assert readings["a0.h0"][0].tolist() == [[4, 4, 1, 4, 0]] and (logits[0, 1] == 0).all()
