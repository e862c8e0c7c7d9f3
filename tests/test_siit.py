"""The trainer: rows, masks, determinism, checkpoints, and (slow) a certified subject from nothing."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

import interpbench
from interpbench.certificate.certificate import Measurement, demands
from interpbench.certificate.certify import certify
from interpbench.errors import InterpbenchError, UsageError
from interpbench.trainers import FlatAdam, Progress, loop
from interpbench.trainers.hints import Hints
from interpbench.trainers.loop import headline, train
from interpbench.trainers.rows import (
    SAMPLING,
    UNDEFINED,
    Rows,
    draw_edges,
    draw_round,
    draw_silent,
    make_pool,
    targets_of,
)
from interpbench.trainers.settings import Config, IitConfig, NaturalConfig
from interpbench.trainers.siit import TRAINERS
from interpbench.trainers.step import loudness, plan, rate, silent_share
from interpbench.trainers.training import start
from interpbench.transformer import initialize

SHORT = Config(steps=6, eval_every=2, eval_rows=40, rows=16, group=4, warmup=3)


def drawn_from(name: str, config: Config = SHORT):
    case = interpbench.load_case(name)
    reference = case.reference()
    weights = [1.0] * len(reference.variables)
    return reference, draw_round(reference, make_pool(case, 0), config, weights, torch.Generator().manual_seed(0))


def targets_for(name: str):
    reference = interpbench.load_case(name).reference()
    circuit = reference.circuit(reference.subject_config.graph)
    return reference, circuit, targets_of(reference, circuit)


@pytest.mark.parametrize("name", ["2", "3", "18", "ioi"])
def test_only_what_is_outside_the_circuit_is_replaced(name: str) -> None:
    reference, circuit, targets = targets_for(name)
    graph, generator = circuit.graph, torch.Generator().manual_seed(0)
    inside = torch.tensor(circuit.mask()) > 0
    drawn = torch.stack([draw_edges(targets, generator) for _ in range(300)])
    assert not drawn[:, inside].any() and drawn[:, ~inside].any(0).float().mean() > 0.95
    spared = (targets.outside - targets.outside_heads).nonzero().flatten().tolist()
    merged = {edge.split("<")[0].replace("pos->", "embed->") for edge in circuit.edges}
    assert {graph.edges[i].split("<")[0].replace("pos->", "embed->") for i in spared} <= merged
    assert not targets.outside_heads[inside].any()
    sizes = drawn.sum(1)
    assert (sizes == 1).float().mean() > 0.15, "single edges"
    assert (sizes > 0.3 * (~inside).sum()).any(), "large sets"
    silent = draw_silent(targets, 400, 0.8, "mixed", generator)
    names = [{graph.writers[i] for i in row.nonzero().flatten()} for row in silent]
    outside = set(graph.nodes) - circuit.nodes
    assert set().union(*names) == outside and outside in names and set() in names
    assert any(len(some) == 1 for some in names)
    for row, nodes in zip(targets.variables, [*reference.variables.values(), ()], strict=True):
        assert [graph.writers[i] for i in row.nonzero().flatten()] == list(nodes)


def test_kinds_of_rows() -> None:
    assert plan(Config(rows=40, group=4), is_open=False) == {"circuit": 10}, "the circuit first"
    assert plan(Config(rows=400, group=4), is_open=True) == {"circuit": 21, "edges": 31, "nodes": 48}
    assert plan(IitConfig(rows=40, group=4), is_open=True) == {"nodes": 10}
    merged = plan(Config(rows=400, group=4, merged=0.5), is_open=True)
    assert merged == {"circuit": 11, "heads": 10, "edges": 31, "nodes": 48}
    for config in (Config(), Config(strict=1.0, edges=0.0), Config(strict=1.0, edges=1.0), NaturalConfig()):
        nodes = 1 - config.strict * config.edges
        assert silent_share(config) * nodes == pytest.approx(config.strict * (1 - config.edges))


@pytest.mark.parametrize("name, in_part", [("3", 0.0), ("18", 0.5), ("21", 0.0), ("ioi", 1.0)])
def test_rows_carry_the_references_answers(name: str, in_part: float) -> None:
    reference, rows = drawn_from(name, Config(eval_every=4, rows=64, reuse=1, in_part=in_part))
    assert in_part - 0.15 < 1 - rows.where.flatten(0, 1).all(-1).float().mean() < in_part + 0.15
    assert rows.tokens.shape[:2] == (64, 4) and len(rows.source) == 64
    assert set(rows.variable.flatten().tolist()) == {*range(len(reference.variables)), -1}
    assert 0.3 < (rows.variable < 0).float().mean() < 0.7
    source = rows.source[:, None].expand(rows.tokens.shape)
    where = rows.where.expand(rows.tokens.shape)
    each = (part.flatten(0, 1) for part in (rows.tokens, source, rows.variable, where, rows.answer))
    for tokens, other, variable, here, answer in zip(*each, strict=True):
        told = reference.outputs(tokens[None], other[None], variable[None], here[None])[0]
        if reference.classes is None:
            assert torch.allclose(told.squeeze(-1), answer, atol=1e-5)
        else:
            known = answer != UNDEFINED
            assert torch.equal(told.argmax(-1)[known], answer[known])
            assert known[1:].all() or reference.partial


def test_a_variable_taken_at_some_positions_only() -> None:
    """Name and suppressed name of two sentences with all names different, ABBA and BABA."""
    case = interpbench.load_case("ioi").published_form
    clean = "When Mary and John got a ring at the park , John gave it to".split()
    other = "When Tom and Kate got a ring at the park , Tom gave it to".split()
    tokens, source = (torch.from_numpy(case.encode([words])) for words in (clean, other))
    inhibition = torch.tensor([list(case.reference().variables).index("s_inhibition")])
    where = torch.zeros(tokens.shape, dtype=torch.bool)
    for position, name in ((15, "Mary"), (4, "Mary"), (12, "John")):
        where[:] = torch.arange(tokens.shape[1]) == position
        logits = case.reference().outputs(tokens, source, inhibition, where)
        assert case.reference().classes[int(logits[0, -1].argmax())] == name, "only the repeated name tells something"
    for name in ("3", "18"):
        case = interpbench.load_case(name)
        reference, draws = case.reference(), np.random.default_rng(0)
        tokens, source = (torch.from_numpy(case.inputs(60, draws)) for _ in range(2))
        variable = torch.arange(60) % len(reference.variables)
        nowhere = torch.zeros(tokens.shape, dtype=torch.bool)
        told = reference.outputs(tokens, source, variable)
        assert torch.equal(reference.outputs(tokens, source, variable, ~nowhere), told)
        assert torch.equal(reference.outputs(tokens, source, variable, nowhere), reference.outputs(tokens))
        assert not torch.equal(told, reference.outputs(tokens))


def test_shares_of_interchanged_rows() -> None:
    assert (drawn_from("4", NaturalConfig(rows=64))[1].variable == -1).all()
    _, rows = drawn_from("4", IitConfig(rows=64, interchange=1.0))
    assert (rows.variable >= 0).all()


def test_a_part_of_the_sources_is_the_inputs_own_counterfactual() -> None:
    _, rows = drawn_from("ioi", Config(rows=64, eval_every=50, own_source=0.25))
    alike = (rows.tokens[:, 0] == rows.source).float().mean(1) > 0.75
    assert 0.15 < alike.float().mean() < 0.6
    assert (rows.tokens[:, 0] != rows.source).any(1).all()


def test_the_rate_falls_in_cycles_once_all_rows_are_in() -> None:
    config = Config(warmup=10, cycle=100)
    at = [rate(config, Progress(step=step, lr=1.0)) for step in (0, 4, 500)]
    assert at == pytest.approx([0.1, 0.5, 1.0])
    told = [rate(config, Progress(step=1000 + gone, lr=1.0, is_open=True, opened=1000)) for gone in range(301)]
    assert told[0] == told[100] == told[300] == 1.0
    assert told[99] < 0.03 and told[299] < 0.03 and told[50] == pytest.approx(0.51)


@pytest.mark.parametrize("rewarm", [False, True])
def test_the_rate_can_rise_again_when_all_rows_are_let_in(tmp_path: Path, rewarm: bool) -> None:
    config = Config(steps=4, eval_every=2, eval_rows=40, rows=16, opens_at=0.0, rewarm=rewarm)
    train(interpbench.load_case("3"), config, tmp_path)
    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as file:
        state = json.loads(file.metadata()["interpbench"])["progress"]
    assert state["is_open"] and state["opened"] == 2 and state["began"] == (2 if rewarm else 0)


def test_training_is_deterministic_and_seeds_differ() -> None:
    case = interpbench.load_case("3")
    first, again, other = (train(case, replace(SHORT, seed=s)) for s in (0, 0, 1))
    for name, weight in first.model.weights.items():
        assert torch.equal(weight, again.model.weights[name])
    assert not torch.equal(first.model.weights["embed.W_E"], other.model.weights["embed.W_E"])
    assert first.circuit.heads().edges == {"input->m0", "input->a1.h2", "m0->a1.h2", "a1.h2->logits"}


def test_a_run_cut_off_resumes_to_the_same_weights(tmp_path: Path) -> None:
    case = interpbench.load_case("3")
    whole = train(case, SHORT)

    class Killed(Exception):
        pass

    def kill(facts: dict) -> None:
        if facts["step"] == 5:
            raise Killed

    with pytest.raises(Killed):
        train(case, SHORT, tmp_path, kill)
    resumed = train(case, SHORT, tmp_path)
    for name, weight in whole.model.weights.items():
        assert torch.equal(weight, resumed.model.weights[name])
    steps = []
    train(case, SHORT, tmp_path, lambda facts: steps.append(facts["step"]))
    assert steps == [], "a finished run is not run again"


def test_what_makes_no_progress_starts_again(tmp_path: Path) -> None:
    """From other weights at half the rate; also when it was cut off in between."""
    case, config = interpbench.load_case("3"), replace(SHORT, patience=1, steps=12, lr=1e-6, opens_at=1.0)
    whole = train(case, config)
    assert whole.facts["starts"] > 2 and whole.facts["lr"] == 1e-6 / 2 ** (whole.facts["starts"] - 1)
    train(case, replace(config, steps=6), tmp_path)
    resumed = train(case, config, tmp_path)
    assert torch.equal(whole.model.weights["embed.W_E"], resumed.model.weights["embed.W_E"])
    once = train(case, replace(config, patience=100))
    assert once.facts["starts"] == 1
    assert not torch.equal(whole.model.weights["embed.W_E"], once.model.weights["embed.W_E"])


def test_what_collapses_goes_back_to_its_best(monkeypatch: pytest.MonkeyPatch) -> None:
    case, config = interpbench.load_case("3"), replace(SHORT, circuit_first=False, steps=8, lr=0.01)

    def trained(steps: int, *headlines: float):
        told = iter(headlines)
        monkeypatch.setattr(loop, "headline", lambda numbers, config: next(told))
        return train(case, replace(config, steps=steps))

    best, ended, last = trained(2, 0.9), trained(8, 0.9, 0.1, 0.5, 0.6), trained(8, 0.1, 0.2, 0.3, 0.4)
    assert torch.equal(ended.model.weights["embed.W_E"], best.model.weights["embed.W_E"])
    assert (best.facts["lr"], ended.facts["lr"], last.facts["lr"]) == (0.01, 0.005, 0.01)
    assert not torch.equal(last.model.weights["embed.W_E"], best.model.weights["embed.W_E"])


def test_a_run_made_longer_is_the_longer_run(tmp_path: Path) -> None:
    case = interpbench.load_case("3")
    train(case, replace(SHORT, steps=4), tmp_path)
    longer, whole = train(case, SHORT, tmp_path), train(case, SHORT)
    assert torch.equal(longer.model.weights["embed.W_E"], whole.model.weights["embed.W_E"])


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    case = interpbench.load_case("3")
    train(case, SHORT, tmp_path)
    with pytest.raises(InterpbenchError, match=r"made with lr=0.0, not 0.01"):
        train(case, replace(SHORT, lr=0.01), tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InterpbenchError, match="is damaged"):
        train(case, SHORT, tmp_path)


def test_a_loss_that_is_not_finite_stops_in_one_line() -> None:
    with pytest.raises(InterpbenchError, match="diverged at step"):
        train(interpbench.load_case("3"), replace(SHORT, lr=1e30, warmup=1, steps=50))


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="a share between 0 and 1"):
        Config(strict=1.5)
    with pytest.raises(ValueError, match="a weight above 0"):
        Config(easy=0)
    with pytest.raises(ValueError, match="multiple of group"):
        Config(rows=10, group=4)


def test_adam_is_torchs_and_the_average_is_one() -> None:
    config = interpbench.load_case("3").reference().subject_config
    adam = FlatAdam(initialize(config, 0), average=0.5)
    weights = adam.state["weights"].clone().requires_grad_()
    average = weights.detach().clone()
    torchs = torch.optim.Adam([weights], lr=0.01, betas=adam.betas)
    for step in range(1, 6):
        gradient = torch.randn(len(weights), generator=torch.Generator().manual_seed(step))
        weights.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([weights], 0.5)
        torchs.step()
        adam.update(gradient, 0.01, 0.5)
        decay = min(0.5, step / (step + 9))
        average = decay * average + (1 - decay) * weights.detach()
    assert torch.allclose(adam.state["weights"], weights.detach(), atol=1e-6)
    assert torch.allclose(adam.state["average"], average, atol=1e-6)
    flat = torch.cat([weight.flatten() for weight in adam.averaged().weights.values()])
    assert torch.equal(flat, adam.state["average"])


def test_a_rare_large_gradient_moves_no_further_than_two_usual_ones() -> None:
    config = interpbench.load_case("3").reference().subject_config
    small, burst = FlatAdam(initialize(config, 0), 0.9), FlatAdam(initialize(config, 0), 0.9)
    gradient = torch.full_like(small.state["weights"], 1e-4)
    for adam, last in ((small, 2.0), (burst, 1000.0)):
        for _ in range(20):
            adam.update(gradient, 0.01, 1.0)
        adam.update(last * gradient, 0.01, 1.0)
    assert torch.allclose(small.state["weights"], burst.state["weights"], atol=1e-7)


@pytest.mark.parametrize("kind", ["freeze", "stop_grad"])
def test_silent_nodes_can_be_left_as_they_are(kind: str) -> None:
    reference, circuit, _ = targets_for("3")
    case, config = interpbench.load_case("3"), replace(SHORT, circuit_first=False, silent=kind)
    before, after = (
        start(reference.subject_config, circuit, config).weights,
        train(case, replace(config, average=0.0)).model,
    )
    used = {node for node in circuit.nodes if node.startswith("a")}
    assert used == {"a1.h2"} and "m0" in circuit.nodes and "m1" not in circuit.nodes
    for key in ("attn.W_Q", "attn.W_O", "mlp.W_in", "mlp.b_out"):
        old, new = (torch.stack([w[f"blocks.{layer}.{key}"] for layer in (0, 1)]) for w in (before, after.weights))
        moved = (old != new).flatten(2).any(-1) if "attn" in key else (old != new).flatten(1).any(-1)
        learning = {(1, 2)} if "attn" in key else {(0,)}
        assert {tuple(at) for at in moved.nonzero().tolist()} == learning, key
    assert not torch.equal(before["embed.W_E"], after.weights["embed.W_E"])


def test_no_gradient_passes_through_detached_writers() -> None:
    model = initialize(interpbench.load_case("3").reference().subject_config, 0)
    tokens = torch.tensor([[0, 1, 2, 3, 4]])
    embedding = model.weights["embed.W_E"].requires_grad_()
    every, silent = torch.ones(len(model.graph.writers), dtype=torch.bool), torch.zeros(2, dtype=torch.bool)
    every[:2] = silent
    logits, outputs = model.run(tokens, detached=every)
    assert torch.equal(logits, model(tokens)) and not any(out.requires_grad for out in outputs[2:])
    direct = model.weights["unembed.W_U"].sum(-1).expand(5, -1)
    (gradient,) = torch.autograd.grad(logits.sum(), embedding)
    assert torch.allclose(gradient[tokens[0]], direct)


def test_other_ways_to_train() -> None:
    case = interpbench.load_case("3")
    one = train(case, replace(SHORT, circuit_first=False)).model
    each = train(case, replace(SHORT, circuit_first=False, single_loss=False)).model
    assert not torch.equal(one.weights["embed.W_E"], each.weights["embed.W_E"])
    assert train(case, replace(SHORT, steps=10_000, seconds=0.01)).facts["steps"] == 2
    big, own = train(case, replace(SHORT, same_size=True, d_mlp=7)).model.config, case.reference().model.config
    assert (big.d_model, big.d_head, big.d_mlp) == (own.d_model, own.d_head, 7)
    half = train(case, replace(SHORT, circuit_first=False, half=True)).model
    assert all(torch.equal(half.weights[name], weight.half().float()) for name, weight in one.weights.items())
    with pytest.raises(UsageError, match="no compiled reference"):
        train(interpbench.load_case("ioi"), replace(SHORT, same_size=True))


def test_what_is_trained_for_decides_when_it_is_enough() -> None:
    numbers = Measurement(
        accuracy=0.9,
        iia={"a": 0.85, "b": 0.8},
        iia_changed={},
        iia_circuit_only={},
        strict={"m1": 0.7},
        strict_all=0.1,
        edges_heads=0.5,
        edges=0.6,
    )
    for config, lowest in ((NaturalConfig(), 0.9), (IitConfig(), 0.8), (Config(), 0.6), (Config(merged=0.5), 0.5)):
        assert headline(numbers, config) == lowest


def test_how_silent_nodes_are_sampled() -> None:
    _, _, targets = targets_for("18")
    generator, count = torch.Generator().manual_seed(0), len(targets.silent)
    sizes = {kind: draw_silent(targets, 300, 1.0, kind, generator).sum(1).tolist() for kind in SAMPLING}
    assert set(sizes["individual"]) == {1} and set(sizes["all"]) == {count}
    assert abs(sum(sizes["sample_all"]) / 300 - count / 2) < 0.3
    assert sizes["mixed"].count(1) > 120 and sizes["mixed"].count(count) > 50


def test_readings_of_ioi() -> None:
    case = interpbench.load_case("ioi").published_form
    sentence = "When Mary and John got a ring at the park , John gave it to".split()
    tokens = torch.from_numpy(case.encode([sentence]))
    told, sizes = case.reference().outputs_and_readings(tokens)[1], case.reference().reading_sizes
    none = {name: size for name, (size,) in sizes.items()}
    place = [none["duplicate"]] * 16
    token = [none["s_inhibition"]] * 16
    place[12], token[12] = 4, case.tokens.index("John")
    assert told["duplicate"][0][0].tolist() == place and told["s_inhibition"][0][0].tolist() == token
    other = "When Tom and Kim got a ring at the park , Tom gave it to".split()
    source, duplicate = torch.from_numpy(case.encode([other])), list(case.reference().variables).index("duplicate")
    told = case.reference().outputs_and_readings(tokens, source, torch.tensor([duplicate]))[1]
    place[12], token[12] = 2, case.tokens.index("Mary")
    assert told["duplicate"][0][0].tolist() == place and told["s_inhibition"][0][0].tolist() == token


def test_readings_of_a_compiled_program() -> None:
    case = interpbench.load_case("3")
    sizes = case.reference().reading_sizes
    tokens = torch.from_numpy(case.encode([["x", "a", "x", "x"]]))
    (is_x,), (share,) = case.reference().outputs_and_readings(tokens)[1].values()
    assert list(sizes.values()) == [(1,), (1,)]
    assert is_x[0, 1:].tolist() == [1, 0, 1, 1]
    assert share[0, 1:].tolist() == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4], abs=1e-4)
    case = interpbench.load_case("9")  # sorting: keys, places (none but at BOS), values
    tokens, sizes = torch.from_numpy(case.encode([[3, 1, 2]])), case.reference().reading_sizes
    told = case.reference().outputs_and_readings(tokens)[1]
    assert [len(values) for values in told.values()] == [len(size) for size in sizes.values()]
    for values, size in zip(told.values(), sizes.values(), strict=True):
        for value, count in zip(values, size, strict=True):
            assert value.is_floating_point() if count == 1 else value.min() >= 0 and value[:, 1:].max() < count
    *_, (last,) = told.values()
    assert [case.reference().classes[i] for i in last[0, 1:4].tolist()] == [1, 2, 3]


def test_hints_ask_nodes_for_values() -> None:
    case = interpbench.load_case("ioi")
    reference = case.reference()
    tokens = torch.from_numpy(case.inputs(6, np.random.default_rng(0)))
    values = {name: value for name, (value,) in reference.outputs_and_readings(tokens)[1].items()}
    places, words = (size for (size,) in reference.reading_sizes.values())
    hints = Hints(reference, reference.subject_config.graph, places)
    outputs = [torch.zeros(places, tokens.shape[1], 6) for _ in reference.subject_config.graph.writers]
    readings = tuple(value[None] for value in values.values())
    free = Rows(tokens[:1], tokens[None], torch.full((1, 6), -1), torch.ones(1, 6, 1) > 0, tokens[None], readings)
    weights = torch.zeros((places + words) * places)
    blank = math.log(places) + math.log(words)
    assert hints.loss(weights, outputs, free).item() == pytest.approx(blank, rel=1e-5)

    order = list(reference.variables)
    for name, size in (("duplicate", places), ("s_inhibition", words)):
        taken = replace(free, variable=torch.full((1, 6), order.index(name)))
        rest = pytest.approx(blank - math.log(size), rel=1e-5)
        assert hints.loss(weights, outputs, taken).item() == rest, "what is interchanged is not asked for"

    node = reference.subject_config.graph.writers.index("a1.h1")
    weights[: places**2] = torch.eye(places).flatten()

    def told(values: torch.Tensor, size: float) -> float:
        outputs[node] = size * F.one_hot(values, places + 1)[..., :places].permute(2, 1, 0).float()
        return hints.loss(weights, outputs, free).item()

    right = told(values["duplicate"], 5)
    assert right < blank - 0.8 * math.log(places) < blank < told((values["duplicate"] + 1) % places, 5)
    assert right < told(values["duplicate"], 50), "to be surer and surer does not pay"


def test_the_hint_of_a_number_is_the_share_of_its_variance_that_is_missed() -> None:
    reference = interpbench.load_case("3").reference()
    hints = Hints(reference, reference.subject_config.graph, 2)
    tokens = torch.from_numpy(interpbench.load_case("3").inputs(50, np.random.default_rng(0)))
    readings = tuple(value[None] for values in reference.outputs_and_readings(tokens)[1].values() for value in values)
    variable, where = torch.full((1, 50), -1), torch.ones(1, 50, 1) > 0
    rows = Rows(tokens[:1], tokens[None], variable, where, tokens[None], readings)
    outputs = [torch.zeros(2, tokens.shape[1], 50) for _ in reference.subject_config.graph.writers]
    for (node,), value in zip(reference.variables.values(), readings, strict=True):
        outputs[reference.subject_config.graph.writers.index(node)][0] = value[0].T - value[0, :, 1:].mean()
    seen = torch.tensor([1.0, 0.0] * 2)
    means = [value[0, :, 1:].mean() ** 2 / value[0, :, 1:].var() for value in readings]
    assert hints.loss(seen, outputs, rows).item() == pytest.approx(sum(means).item(), rel=1e-3)
    assert hints.loss(0 * seen, outputs, rows).item() == pytest.approx(2 + sum(means).item(), rel=1e-2)


def test_training_with_hints_can_be_resumed_and_leaves_no_trace_in_the_subject(tmp_path: Path) -> None:
    case = interpbench.load_case("ioi")
    reference = case.reference()
    config = replace(SHORT, steps=4, hint=0.5, calm=0.1)
    whole = train(case, config)
    assert whole.model.weights.keys() == reference.subject_config.weight_shapes().keys()
    train(case, replace(config, steps=2), tmp_path)
    resumed = train(case, config, tmp_path)
    plain = train(case, replace(config, hint=0.0))
    for name, weight in whole.model.weights.items():
        assert torch.equal(weight, resumed.model.weights[name])
    assert not torch.equal(whole.model.weights["embed.W_E"], plain.model.weights["embed.W_E"])


def test_calm_keeps_the_circuit_quiet_and_leaves_silent_nodes_alone() -> None:
    case, (reference, _, targets) = interpbench.load_case("3"), targets_for("3")
    graph = reference.subject_config.graph
    outputs = [torch.full((2, 3, 4), float(i)) for i in range(len(graph.writers))]
    used = [graph.writers.index(node) for node in ("m0", "a1.h2")]
    assert loudness(outputs, targets) == sum(i**2 for i in used)
    tokens = torch.tensor(case.inputs(50, np.random.default_rng(0)))
    loud, calm = (
        loudness(
            train(case, replace(SHORT, steps=100, eval_every=100, opens_at=1.0, calm=weight)).model.run(tokens)[1],
            targets,
        )
        for weight in (0.0, 0.3)
    )
    assert calm < 0.7 * loud


def test_names_are_shares_of_rows() -> None:
    assert {t.name: (t.Config().strict > 0, t.Config().interchange > 0) for t in TRAINERS} == {
        "siit": (True, True),
        "iit": (False, True),
        "natural": (False, False),
    }


@pytest.mark.slow
def test_case_4_from_nothing_to_all_that_version_1_demanded() -> None:
    """Rows with permuted positions and zeros, and with them version 2, are still to come."""
    case = interpbench.load_case("4")
    trained = train(case, Config())
    certificate = certify(case, trained.model, trained.circuit).to_json()
    assert all(demand.is_met for demand in demands(certificate | {"version": 1}))
