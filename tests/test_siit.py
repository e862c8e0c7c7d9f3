"""The trainer: rows, masks, determinism, checkpoints, and (slow) a certified subject from nothing."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

import interpbench
from interpbench.cases.pairs import fresh_data
from interpbench.certificate.certificate import demands
from interpbench.certificate.certify import certify
from interpbench.certificate.interventions import agreement, where_defined
from interpbench.certificate.measure import (
    REMEASURED,
    exclusivity,
    liveliness,
    masks_of,
    measure,
    outside_under,
    strictness,
)
from interpbench.errors import InterpbenchError, UsageError
from interpbench.graph import Circuit
from interpbench.trainers import FlatAdam, Progress
from interpbench.trainers.hints import Hints
from interpbench.trainers.loop import train
from interpbench.trainers.rows import (
    ABLATIONS,
    UNDEFINED,
    Pool,
    Rows,
    draw_edges,
    draw_round,
    draw_silent,
    make_pool,
    targets_of,
)
from interpbench.trainers.settings import Config, IitConfig, NaturalConfig
from interpbench.trainers.siit import TRAINERS
from interpbench.trainers.standing import Alone, Check, Standing
from interpbench.trainers.step import plan, power, rate, silent_share
from interpbench.trainers.training import Training, start, weights_of
from interpbench.transformer import Transformer, initialize

ROWS = {"interchange": 0.5, "strict": 0.75, "positions": 0.5, "zeros": 0.2, "own_source": 0.25, "group": 4, "reuse": 8}
"""Which rows: these tests are about what settings do, not about which are the best."""

SHORT = Config(
    **ROWS,
    edges=0.7,
    whole=0.4,
    merged=0.25,
    circuit_first=True,
    opens_at=0.98,
    patience=10,
    hint=0.0,
    loudness=0.0,
    rows=16,
    steps=6,
    warmup=3,
    eval_every=2,
    eval_rows=40,
)


@cache
def pool_of(name: str) -> Pool:
    return make_pool(interpbench.load_case(name), 0)


def drawn_from(name: str, config: Config = SHORT, **measured: list[float]):
    reference = interpbench.load_case(name).reference()
    state = Progress(variable_weights=[1.0] * len(reference.variables), **measured)
    return reference, draw_round(reference, pool_of(name), config, state, torch.Generator().manual_seed(0))


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
    weak = int((~inside).nonzero()[5])
    short = torch.zeros(graph.n_edges).index_fill_(0, torch.tensor(weak), 0.04)
    single = [found for _ in range(400) if (found := draw_edges(targets, generator, short)).sum() == 1]
    assert 0.3 < np.mean([bool(found[weak]) for found in single]) < 0.7, "half of the single edges are what falls short"
    silent = draw_silent(targets, 400, 0.8, generator)
    names = [{graph.writers[i] for i in row.nonzero().flatten()} for row in silent]
    outside = set(graph.nodes) - circuit.nodes
    assert set().union(*names) == outside and outside in names and set() in names
    assert any(len(some) == 1 for some in names)
    for row, nodes in zip(targets.variables, [*reference.variables.values(), ()], strict=True):
        assert [graph.writers[i] for i in row.nonzero().flatten()] == list(nodes)


def test_kinds_of_rows() -> None:
    config = replace(SHORT, rows=400, merged=0.0)
    assert plan(replace(config, rows=40), False, 0) == [("circuit", 10)], "the circuit first"
    assert plan(config, True, 3) == [("circuit", 21), ("edges", 31), ("nodes", 48)]
    first = [plan(replace(config, merged=0.25), True, step)[0] for step in range(400)]
    assert first.count(("heads", 21)) == 100 and first.count(("circuit", 21)) == 300
    assert plan(IitConfig(rows=40, group=4), True, 0) == [("nodes", 10)]
    for config in (
        SHORT,
        replace(SHORT, strict=1.0, edges=0.0),
        replace(SHORT, strict=1.0, edges=1.0),
        NaturalConfig(),
    ):
        nodes = 1 - config.strict * config.edges
        assert silent_share(config) * nodes == pytest.approx(config.strict * (1 - config.edges))


@pytest.mark.parametrize("name", ["3", "18", "21", "ioi"])
def test_rows_carry_the_references_answers(name: str) -> None:
    reference, rows = drawn_from(name, replace(SHORT, eval_every=2, rows=64, reuse=1))
    assert rows.tokens.shape[:2] == (32, 4) and len(rows.source) == 32
    assert set(rows.variable.flatten().tolist()) == {*range(len(reference.variables)), -1}
    source = rows.source[:, None].expand(rows.tokens.shape)
    each = (part.flatten(0, 1) for part in (rows.tokens, source, rows.variable, rows.answer))
    for tokens, other, variable, answer in zip(*each, strict=True):
        expected = reference.outputs(tokens[None], other[None], variable[None])[0]
        if reference.classes is None:
            assert torch.allclose(expected.squeeze(-1), answer, atol=1e-5)
        else:
            known = answer != UNDEFINED
            assert torch.equal(expected.argmax(-1)[known], answer[known])
            assert known[1:].all() or reference.partial


@pytest.mark.parametrize(
    "interchange, positions, zeros, strict",
    [
        (0.5, 0.7, 0.15, 0.75),
        (0.3, 0.5, 0.5, 0.75),
        (0.4, 0.0, 0.6, 0.1),
        (0.7, 0.9, 0.0, 1.0),
        (0.0, 0.6, 0.3, 0.75),
        (1.0, 0.6, 0.3, 0.75),
        (0.5, 0.6, 0.3, 0.0),
        (0.0, 0.6, 0.3, 0.0),
    ],
)
def test_shares_of_rows(interchange: float, positions: float, zeros: float, strict: float) -> None:
    """Sources whose values no clean run writes: on rows without a variable only, whose share stays as configured."""
    shares = {"interchange": interchange, "positions": positions, "zeros": zeros, "strict": strict}
    _, rows = drawn_from("4", replace(SHORT, eval_every=100, rows=64, reuse=1, **shares))
    own = torch.arange(rows.places.shape[1])
    moved = (rows.places != own).any(1)
    assert torch.equal(rows.places.sort(1).values, own.expand(rows.places.shape)), "an order of the positions"
    assert (rows.places[moved, 1:] != own[1:]).all() and (rows.places[:, 0] == 0).all(), "all move but BOS"
    blank = is_blank(rows)
    assert not (moved & blank).any() and (rows.variable[moved | blank] == -1).all()
    alone = (1 - interchange) * (strict > 0)
    for found, share in ((moved, alone * positions), (blank, alone * zeros), (rows.variable >= 0, interchange)):
        wide = 0.05 if 0 < share < 1 else 0
        assert abs(found.float().mean().item() - share) <= wide
    assert rows.answer.isfinite().all()


def is_blank(rows: Rows) -> torch.Tensor:
    return torch.isin(rows.ablation, torch.tensor([ABLATIONS.index("mean"), ABLATIONS.index("zero")]))


def test_what_falls_short_is_drawn_more_often() -> None:
    config = replace(SHORT, eval_every=100, rows=64, reuse=1, interchange=0.2, positions=0.6, zeros=0.3)
    _, rows = drawn_from("4", config, short_under=[0.0, 0.02, 0.0, 0.06])
    found = torch.bincount(rows.ablation, minlength=4) / len(rows.ablation)
    alone = torch.tensor([0.1, 0.6, 0.15, 0.15]) / 2 + torch.tensor([0.0, 0.25, 0.0, 0.75]) / 2
    assert torch.allclose(found, 0.8 * alone + torch.tensor([0.2, 0, 0, 0]), atol=0.05)
    assert abs((rows.variable >= 0).float().mean().item() - 0.2) < 0.05


@pytest.mark.parametrize("fixed", [True, False])
def test_silent_nodes_keep_the_weights_they_start_with(fixed: bool) -> None:
    config = replace(SHORT, silent_fixed=fixed, loudness=0.0, steps=2, opens_at=0.0, circuit_first=False)
    training = Training.begin(interpbench.load_case("3"), config)
    _, rows = drawn_from("3", training.config)
    before = {name: weight.clone() for name, weight in training.optimizer.transformer("weights").weights.items()}
    training.step(rows)
    after = training.optimizer.transformer("weights").weights
    of_nodes = {name for name in before if ".attn." in name or ".mlp." in name}
    for node in training.shape.graph.nodes:
        own, then = (weights_of(weights, node) for weights in (before, after))
        moved = any(not torch.equal(weight, then[name]) for name, weight in own.items())
        assert moved == (not fixed or node in training.circuit.nodes), node
    assert all(not torch.equal(before[name], after[name]) for name in before.keys() - of_nodes if "W_pos" not in name)


def test_what_sources_carry() -> None:
    """Permuted ones what a run at these places writes, blank ones zero or the mean over sources."""
    training = Training.begin(interpbench.load_case("3"), replace(SHORT, interchange=0.0, positions=0.3, zeros=0.6))
    _, rows = drawn_from("3", replace(training.config, eval_every=100))
    model = training.optimizer.averaged()
    carried = training._source_outputs(model, rows)
    real = model.writers(rows.source, rows.places)
    moved = (rows.places != torch.arange(rows.places.shape[1])).any(1)
    assert moved.any() and not torch.equal(real[..., moved], model.writers(rows.source)[..., moved])
    assert torch.equal(carried[..., ~is_blank(rows)], real[..., ~is_blank(rows)])
    blank, mean = carried[..., is_blank(rows)], real.mean(-1, keepdim=True)
    is_zero = (blank == 0).flatten(0, -2).all(0)
    is_mean = (blank == mean).flatten(0, -2).all(0)
    assert (is_zero ^ is_mean).all() and 0.2 < is_zero.float().mean() < 0.8


def test_a_part_of_the_sources_is_the_inputs_own_counterfactual() -> None:
    _, rows = drawn_from("ioi", replace(SHORT, rows=64, eval_every=50, own_source=0.25))
    alike = (rows.tokens[:, 0] == rows.source).float().mean(1) > 0.75
    assert 0.15 < alike.float().mean() < 0.6
    assert (rows.tokens[:, 0] != rows.source).any(1).all()


def test_the_rate_falls_in_cycles_once_all_rows_are_in() -> None:
    config = Config(warmup=10, cycle=100, settled=1.0)
    at = [rate(config, Progress(step=step, lr=1.0)) for step in (0, 4, 500)]
    slower = [rate(replace(config, falling=400), Progress(step=step, lr=1.0)) for step in (200, 400, 500)]
    assert slower == pytest.approx([0.625, 0.25, 0.25])
    assert at == pytest.approx([0.1, 0.5, 1.0])
    later = [Progress(step=1000 + gone, lr=1.0, is_open=True, opened=1000) for gone in range(301)]
    rates = [rate(config, state) for state in later]
    assert rates[0] == rates[100] == rates[300] == 1.0
    assert rates[99] < 0.03 and rates[299] < 0.03 and rates[50] == pytest.approx(0.51)
    assert [rate(replace(config, settled=0.25), state) for state in later] == pytest.approx([r / 4 for r in rates])


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


def standing(accuracy: float, loudness: float | None = None, **others: float | None) -> Standing:
    """One accuracy for all, but for those that are given."""
    names = ("edges", "edges_heads", "positions", "positions_heads", "mean", "mean_heads", "zero", "zero_heads")
    outside = {name: others.get(name, accuracy) for name in names}
    iia = {name: others.get(name, accuracy) for name in ("a", "b")}
    bare = {name: others.get(f"{name}_bare", accuracy) for name in ("a", "b")}
    loud = {} if loudness is None else {"m1": loudness}
    return Standing(Alone(bare, outside, loud), accuracy, iia, others.get("exclusive", accuracy))


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch):
    """Trains case 3 on made-up measurements, two steps each, to the last of them or to an earlier end."""

    def trained(config: Config, *found: Standing, alone: float = 0.0, more: float = 1.0, folder: Path | None = None):
        told, whole = iter(found), {id(each.alone): each for each in found}
        monkeypatch.setattr(Check, "alone", lambda self, model: next(told).alone)
        monkeypatch.setattr(Check, "standing", lambda self, model, alone, config: whole[id(alone)])
        monkeypatch.setattr(Check, "one_at_a_time", lambda self, model: (alone, (1 - alone) * self.masks.outside_edges))
        monkeypatch.setattr("interpbench.trainers.loop._lowest_on_more_rows", lambda training, model: more)
        return train(interpbench.load_case("3"), replace(config, steps=2 * len(found), lr=0.01), folder)

    return trained


def test_all_rows_are_added_when_the_circuit_stands(trained_on, tmp_path: Path) -> None:
    found = [standing(0.9, **{name: bare}) for name, bare in (("positions", 0.7), ("edges", 0.7), ("mean", 0.7))]
    trained_on(replace(SHORT, opens_at=0.9), *found, standing(0.9), folder=tmp_path)
    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as file:
        state = json.loads(file.metadata()["interpbench"])["progress"]
    assert state["is_open"] and state["opened"] == 6 and state["began"] == 0


def test_variables_that_are_wrong_are_drawn_more_often(trained_on, tmp_path: Path) -> None:
    """With the circuit alone while it is learnt, with nothing else replaced later."""
    for first, expected in ((True, [0.9, 0.2]), (False, [0.4, 0.2])):
        folder = tmp_path / str(first)
        config = replace(SHORT, circuit_first=first, easy=0.1)
        trained_on(config, standing(0.9, a=0.7, a_bare=0.2), folder=folder)
        with safe_open(folder / "checkpoint.safetensors", "pt") as file:
            state = json.loads(file.metadata()["interpbench"])["progress"]
        assert state["variable_weights"] == pytest.approx(expected)


def test_what_collapses_goes_back_to_its_best(trained_on) -> None:
    config = replace(SHORT, circuit_first=False)
    best = trained_on(config, standing(0.9))
    ended = trained_on(config, *map(standing, (0.9, 0.1, 0.5, 0.6)))
    last = trained_on(config, *map(standing, (0.1, 0.2, 0.3, 0.4)))
    assert torch.equal(ended.model.weights["embed.W_E"], best.model.weights["embed.W_E"])
    assert (best.facts["lr"], ended.facts["lr"], last.facts["lr"]) == (0.01, 0.005, 0.01)
    assert not torch.equal(last.model.weights["embed.W_E"], best.model.weights["embed.W_E"])


def test_the_best_is_accurate_and_loud(trained_on) -> None:
    config = replace(SHORT, circuit_first=False, loudness=0.5)
    quiet, loud, worse = standing(0.9, 0.1), standing(0.8, 0.4), standing(0.6, 0.6)
    second = trained_on(config, quiet, loud)
    assert torch.equal(
        trained_on(config, quiet, loud, worse).model.weights["embed.W_E"], second.model.weights["embed.W_E"]
    )
    accurate = trained_on(replace(config, loudness=0.0), quiet, loud, worse).model
    assert torch.equal(accurate.weights["embed.W_E"], trained_on(config, quiet).model.weights["embed.W_E"])


def test_training_ends_when_everything_is_reached(trained_on) -> None:
    config = replace(SHORT, circuit_first=False, loudness=0.5, margin=0.997)
    enough, later = standing(0.998, 0.5), standing(0.9, 0.5)

    def steps(first: Standing, alone: float, **settings: float) -> int:
        return trained_on(replace(config, **settings), first, later, alone=alone).facts["steps"]

    assert steps(enough, alone=0.998) == 2
    assert steps(standing(0.998), alone=0.998) == 2, "no silent nodes"
    assert steps(standing(0.998, 0.4), alone=0.998, loudness=0.4) == 2
    assert steps(standing(0.998, 0.4), alone=0.998) == 4, "not loud enough"
    assert steps(standing(0.998, 0.5, positions_heads=0.99), alone=0.998) == 4
    assert steps(enough, alone=0.98) == 4, "one edge alone matters"
    assert trained_on(replace(config, circuit_first=True), standing(0.5), alone=0.998).facts["steps"] == 2


def test_a_target_close_to_the_certificates_is_confirmed_on_more_rows(trained_on) -> None:
    config, enough = replace(SHORT, circuit_first=False, margin=0.992), standing(0.993)
    for rows, more, steps in ((1000, 0.9905, 4), (1000, 0.9911, 2), (80_000, 0.5, 2)):
        made = trained_on(replace(config, eval_rows=rows), enough, standing(0.9), alone=0.993, more=more)
        assert made.facts["steps"] == steps, (rows, more)


def test_more_rows_are_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    whole = Check.whole
    monkeypatch.setattr(Check, "whole", lambda self, *given: seen.append(self.data.clean) or whole(self, *given))
    train(interpbench.load_case("21"), replace(SHORT, circuit_first=False, margin=0.01, loudness=0.0, steps=2))
    *_, few, more = seen
    assert len(more) == 4 * len(few) and not torch.equal(more[: len(few)], few)


def test_a_run_made_longer_is_the_longer_run(tmp_path: Path) -> None:
    case = interpbench.load_case("3")
    train(case, replace(SHORT, steps=4, seconds=1000.0), tmp_path)
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
    with pytest.raises(ValueError, match="shares of the same rows"):
        Config(positions=0.7, zeros=0.4)
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


def test_other_ways_to_train() -> None:
    case = interpbench.load_case("3")
    one = train(case, replace(SHORT, circuit_first=False)).model
    assert train(case, replace(SHORT, steps=10_000, seconds=0.01)).facts["steps"] == 2
    big, own = train(case, replace(SHORT, same_size=True, d_mlp=7)).model.config, case.reference().model.config
    assert (big.d_model, big.d_head, big.d_mlp) == (own.d_model, own.d_head, 7)
    half = train(case, replace(SHORT, circuit_first=False, half=True)).model
    assert all(torch.equal(half.weights[name], weight.half().float()) for name, weight in one.weights.items())
    with pytest.raises(UsageError, match="no compiled reference"):
        train(interpbench.load_case("ioi"), replace(SHORT, same_size=True))


@pytest.mark.parametrize("name", ["3", "18"])
@pytest.mark.parametrize("part, scale", [(0.3, 1.0), (0.05, 0.5), (0.6, 3.0)])
def test_silent_nodes_start_in_a_part_of_the_stream_that_the_circuit_does_not_read(
    name: str, part: float, scale: float
) -> None:
    reference, circuit, targets = targets_for(name)
    shape = reference.subject_config
    config = replace(SHORT, silent_part=part, silent_scale=scale, seed=3)
    begun, plain = start(shape, circuit, config).weights, initialize(shape, 3).weights

    def of_node(weights: Mapping[str, torch.Tensor], node: str, kind: str) -> torch.Tensor:
        layer, _, head = node[1:].partition(".h")
        weight = weights[f"blocks.{layer}.{'attn' if head else 'mlp'}.W_{kind}"]
        return weight[int(head)] if head else weight

    silent = set(shape.graph.nodes) - circuit.nodes
    written = {node: of_node(begun, node, "O" if ".h" in node else "out") for node in shape.graph.nodes}
    together = torch.cat([written[node] for node in silent])
    size = max(1, round(part * shape.d_model))
    assert len(silent) == len(targets.silent) and torch.linalg.matrix_rank(together, rtol=1e-4) == size, "one for all"
    for node, weight in written.items():
        before = of_node(plain, node, "O" if ".h" in node else "out")
        if node in silent:
            assert weight.norm() == pytest.approx(scale * before.norm(), rel=0.5)
        else:
            assert torch.equal(weight, before)
        for kind in "QKV" if ".h" in node else ("in",):
            read, before = of_node(begun, node, kind), of_node(plain, node, kind)
            assert torch.equal(read, before) if node in silent else (together @ read).abs().max() < 1e-4
            assert read.norm() > 0.3 * before.norm()
    assert (together @ begun["unembed.W_U"]).abs().max() < 1e-4
    for key in ("embed.W_E", "pos_embed.W_pos", "blocks.0.attn.b_Q", "blocks.1.mlp.b_out"):
        assert torch.equal(begun[key], plain[key])
    free = start(shape, circuit, replace(config, strict=0.0)).weights
    assert all(torch.equal(free[key], weight) for key, weight in plain.items()), "without strictness"


def test_other_seeds_choose_another_part() -> None:
    reference, circuit, _ = targets_for("3")
    shape, config = reference.subject_config, replace(SHORT, silent_part=0.1, silent_scale=1.0)
    first, second = (start(shape, circuit, replace(config, seed=s)) for s in (0, 1))
    written = torch.cat([model.weights["blocks.1.mlp.W_out"] for model in (first, second)])
    assert torch.linalg.matrix_rank(written, rtol=1e-4) == 2


def test_silent_nodes_are_turned_up_and_down_by_a_factor() -> None:
    """Those that are quiet or very loud, in the weights and in their average; nothing else changes."""

    def factors(loudness: dict[str, float], up: bool) -> dict[str, float]:
        training = Training.begin(interpbench.load_case("3"), replace(SHORT, loudness=0.8))
        before = training.optimizer.averaged().weights
        training.turn(loudness, up)
        adam = training.optimizer
        assert torch.equal(adam.state["weights"], adam.state["average"])
        found = {}
        for key, after in adam.averaged().weights.items():
            whole = after.flatten(1) if key.endswith("attn.W_O") else after.flatten()[None]
            old = before[key].view(whole.shape)
            for i, (new, was) in enumerate(zip(whole, old, strict=True)):
                if not torch.equal(new, was):
                    found[f"{key}.{i}"] = float(new.norm() / was.norm())
                    assert torch.allclose(new, found[f"{key}.{i}"] * was, atol=1e-6)
        return found

    told = {"m1": 0.9, "a0.h1": 0.001, "a0.h2": 50.0, "a0.h3": 1.3}
    nodes = ("blocks.0.attn.W_O.1", "blocks.0.attn.W_O.2", "blocks.1.mlp.W_out.0")
    assert factors(told, up=True) == pytest.approx(dict(zip(nodes, (2.0, 0.5, 1.0 / 0.9), strict=True)), rel=1e-4)
    assert factors(told, up=False) == pytest.approx({nodes[1]: 0.5}, rel=1e-4)


def test_silent_nodes_are_loud_where_training_asks_for_it() -> None:
    """Measured at the end: with `loudness` more than without, and enough."""
    case, tokens = interpbench.load_case("8"), fresh_data(interpbench.load_case("8"), 200, seed=0)
    short = replace(SHORT, steps=150, rows=128, eval_every=25, eval_rows=200, warmup=20, lr=0.01, silent_scale=0.3)

    def median(loudness: float) -> float:
        trained = train(case, replace(short, opens_at=0.5, margin=0.9, loudness=loudness))
        return float(np.median([*liveliness(trained.model, tokens, trained.circuit).relative_deviation.values()]))

    assert median(0.6) > max(0.5, 2 * median(0.0))


def checked(name: str, rows: int = 160) -> tuple[Check, Transformer]:
    """A check, and an untrained subject, which is right on some rows and wrong on others."""
    case = interpbench.load_case(name)
    reference, circuit, _ = targets_for(name)
    return Check(fresh_data(case, rows, seed=5).head(rows), reference, circuit, 7), initialize(
        reference.subject_config, 0
    )


@pytest.mark.parametrize("name", ["18", "21"])
def test_a_check_agrees_with_the_certificates_measurements(name: str) -> None:
    check, model = checked(name)
    data, reference, circuit = check.data, check.reference, check.circuit
    found, masks, answer = check.alone(model), masks_of(reference, circuit), reference.outputs(data.clean)
    whole = check.whole(model, found)
    own = where_defined(reference, data, answer)
    measured, moved = measure(model, data, reference, masks), own.with_permuted_places(check.seed)
    permuted = strictness(model, moved, answer, masks)
    assert (whole.accuracy, whole.iia, found.iia) == (measured.accuracy, measured.iia, measured.iia_circuit_only)
    expected = {"edges": measured.edges, "edges_heads": measured.edges_heads}
    expected |= {"positions": permuted.edges, "positions_heads": permuted.edges_heads}
    for ablation in ("mean", "zero"):
        outside = outside_under(model, own, answer, masks, ablation)
        expected |= {ablation: outside.edges, f"{ablation}_heads": outside.edges_heads}
    assert found.outside == expected and len({*expected.values(), whole.accuracy}) > 4
    assert whole.exclusive == exclusivity(model, data, reference, masks)
    loud = liveliness(model, data, circuit).relative_deviation
    assert found.loudness == np.median([*loud.values()]) and found.loud == loud
    assert found.bare == min(measured.edges, permuted.edges, np.mean([*measured.iia_circuit_only.values()]))
    assert 0 < whole.lowest(SHORT) <= min(whole.accuracy, *whole.iia.values(), *expected.values()) < 1


def test_one_at_a_time_is_the_lowest_accuracy_of_all_nodes_and_edges() -> None:
    check, model = checked("18")
    circuit, graph = check.circuit, check.circuit.graph
    some, permuted = check.data, check.data.with_permuted_places(check.seed)
    assert check.rows_alone >= len(some.clean)
    others = [model.writers(each.source, each.places) for each in (some, permuted)]
    target = check.reference.outputs(some.clean).argmax(-1)
    nodes = [np.isin(range(graph.n_edges), graph.edges_from(node)) for node in set(graph.nodes) - circuit.nodes]
    edges = [Circuit(graph, frozenset([name])).mask() for name in set(graph.edges) - circuit.edges]
    outside = set(graph.universe("heads")) - circuit.heads().edges
    merged = [Circuit(graph, frozenset([name]), "heads").mask() for name in outside]
    masks = torch.tensor(np.stack([*nodes, *edges, *merged])).float()
    shares = torch.ones(len(masks))
    for other in others:
        right = torch.cat([model(some.clean, few, other).argmax(-1) == target for few in masks.split(50)])
        shares = torch.minimum(shares, right[:, some.scored].float().mean(-1))
    lowest, short = check.one_at_a_time(model)
    assert lowest == pytest.approx(shares.min().item())
    assert torch.allclose(short[masks[len(nodes) :][: len(edges)].argmax(-1)], 1 - shares[len(nodes) :][: len(edges)])
    assert not short[torch.tensor(circuit.mask()) > 0].any()
    assert shares.min() < shares.max()


def test_the_worst_edges_are_measured_again_on_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    check, model = checked("18")
    calls: list[tuple[int, torch.Tensor]] = []

    def told(model, data, masks, target):
        shares = agreement(model, data, masks, target)
        calls.append((len(data.clean), shares))
        return shares.clone()

    monkeypatch.setattr("interpbench.trainers.standing.agreement", told)
    monkeypatch.setattr(Check, "rows_alone", 40)
    lowest, short = check.one_at_a_time(model)
    (some, first), (whole, second), *permuted = calls
    assert (some, whole, len(second)) == (40, len(check.data.clean), REMEASURED) and len(permuted) == 2
    assert len(first) == int(check.masks.outside_edges.sum())
    assert lowest <= second.min() and short.min() == 0
    expected = first.clone()
    expected[first.argsort()[:REMEASURED]] = second
    assert ((1 - short)[check.masks.outside_edges > 0] <= expected + 1e-6).all()


def test_few_rows_decide_on_what_is_far_from_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    check, model = checked("18")
    screen, config = check.screen, replace(SHORT, margin=0.99)
    assert 4 * len(screen.data.clean) == len(check.data.clean)
    assert (
        check.standing(model, screen.alone(model), config).to_json()
        == screen.whole(model, screen.alone(model)).to_json()
    )
    near = replace(SHORT, margin=screen.whole(model, screen.alone(model)).lowest(config))
    found = check.standing(model, screen.alone(model), near)
    assert found.to_json() == check.whole(model, check.alone(model)).to_json()
    assert found.alone.outside != screen.alone(model).outside


def test_what_is_trained_for_decides_when_it_is_enough() -> None:
    others = {"b": 0.85, "mean_heads": 0.7, "a_bare": 0.75}
    found = standing(0.9, **others)
    assert found.alone.bare == pytest.approx((0.75 + 0.9) / 2)
    for config, lowest in ((NaturalConfig(), 0.9), (IitConfig(), 0.85), (SHORT, 0.7)):
        assert found.lowest(config) == lowest
    assert standing(0.9, a_bare=0.75).lowest(SHORT) == 0.75
    assert standing(0.9, exclusive=0.6).lowest(SHORT) == 0.6
    assert standing(0.9, exclusive=None).lowest(SHORT) == 0.9
    assert standing(0.9, exclusive=0.6, a_bare=0.5, zero=0.4).lowest(IitConfig()) == 0.9


def test_how_silent_nodes_are_sampled() -> None:
    """One on half of the rows, each with even odds on a quarter, all of them on a quarter."""
    _, _, targets = targets_for("18")
    generator, count = torch.Generator().manual_seed(0), len(targets.silent)
    assert count == 6
    sizes = draw_silent(targets, 4000, 1.0, generator).sum(1).tolist()
    each = [math.comb(count, size) / 2**count / 4 for size in range(count + 1)]
    each[1] += 1 / 2
    each[count] += 1 / 4
    assert [sizes.count(size) / 4000 for size in range(count + 1)] == pytest.approx(each, abs=0.04)
    none = draw_silent(targets, 4000, 0.25, generator).sum(1) == 0
    assert none.float().mean().item() == pytest.approx(0.75 + 0.25 * each[0], abs=0.04)


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


def rows_of(tokens: torch.Tensor, readings: tuple[torch.Tensor, ...]) -> Rows:
    """One block without a variable."""
    count, positions = tokens.shape
    places, ablation = torch.arange(positions)[None], torch.zeros(1, dtype=torch.long)
    return Rows(tokens[:1], places, ablation, tokens[None], torch.full((1, count), -1), tokens[None], readings)


def test_hints_ask_nodes_for_values() -> None:
    case = interpbench.load_case("ioi")
    reference = case.reference()
    tokens = torch.from_numpy(case.inputs(6, np.random.default_rng(0)))
    values = {name: value for name, (value,) in reference.outputs_and_readings(tokens)[1].items()}
    places, words = (size for (size,) in reference.reading_sizes.values())
    hints = Hints(reference, reference.subject_config.graph, places)
    outputs = [torch.zeros(places, tokens.shape[1], 6) for _ in reference.subject_config.graph.writers]
    readings = tuple(value[None] for value in values.values())
    free = rows_of(tokens, readings)
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
    rows = rows_of(tokens, readings)
    outputs = [torch.zeros(2, tokens.shape[1], 50) for _ in reference.subject_config.graph.writers]
    for (node,), value in zip(reference.variables.values(), readings, strict=True):
        outputs[reference.subject_config.graph.writers.index(node)][0] = value[0].T - value[0, :, 1:].mean()
    seen = torch.tensor([1.0, 0.0] * 2)
    means = [value[0, :, 1:].mean() ** 2 / value[0, :, 1:].var() for value in readings]
    assert hints.loss(seen, outputs, rows).item() == pytest.approx(sum(means).item(), rel=1e-3)
    assert hints.loss(0 * seen, outputs, rows).item() == pytest.approx(2 + sum(means).item(), rel=1e-2)


def test_training_with_hints_can_be_resumed_and_leaves_no_trace_in_the_subject(tmp_path: Path) -> None:
    case = interpbench.load_case("18")
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
    assert power(outputs, targets) == sum(i**2 for i in used)
    tokens = torch.tensor(case.inputs(50, np.random.default_rng(0)))
    loud, calm = (
        power(
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
    case = interpbench.load_case("4")
    trained = train(case, Config())
    certificate = certify(case, trained.model, trained.circuit).to_json()
    assert all(demand.is_met for demand in demands(certificate | {"version": 1}))
