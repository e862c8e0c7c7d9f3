"""The classes of true edges: random orders against a search through all subsets, and where the classes are kept."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from interpbench.cases.pairs import fresh_data, permuted_places
from interpbench.certificate.classify import Elimination, classify, classify_edges, stated_on_card
from interpbench.certificate.edge_classes import EdgeClasses
from interpbench.errors import InterpbenchError
from interpbench.graph import Circuit, Graph
from interpbench.graph.names import node_of, split_edge
from interpbench.problem import Problem
from interpbench.problem.ablation import ABLATIONS, Ablation
from interpbench.problem.problem import make_problem
from interpbench.subjects.classes import edge_classes, stated_classes
from interpbench.subjects.folder import read_subject
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import load_subject
from interpbench.testing.toys import random_problem, toy_problem
from interpbench.transformer import Config, Transformer

HERE = Path(__file__).parent
PLAIN = runpy.run_path(str(HERE / "benchmarks" / "plain.py"))
ENOUGH, ATOL = 0.99, 0.05
LETTERS, PLACES = 4, 5


def one_head(edges_of: str) -> tuple[str, ...]:
    """The edges of a head of the hand-made models: where the mark is, its letter, the answer."""
    return (f"embed->{edges_of}<k>", f"embed->{edges_of}<v>", f"{edges_of}->logits")


def finders(n_layers: int, n_heads: int) -> Transformer:
    """Tokens are letters, plain or marked. Each head finds the marked one and votes for its letter.

    The last feature of a head's output says that there is a mark. MLPs do nothing.
    """
    tokens = 2 * LETTERS
    answer, flag = slice(tokens, tokens + LETTERS), tokens + LETTERS
    config = Config(
        n_layers=n_layers,
        n_heads=n_heads,
        d_model=flag + 1,
        d_head=LETTERS + 1,
        d_mlp=2,
        n_ctx=PLACES,
        d_vocab=tokens,
        d_vocab_out=LETTERS,
        act_fn="relu",
    )
    weights = {name: torch.zeros(shape) for name, shape in config.weight_shapes().items()}
    weights["embed.W_E"][:, :tokens] = torch.eye(tokens)
    weights["pos_embed.W_pos"][:, flag] = 0.001
    weights["unembed.W_U"][answer] = torch.eye(LETTERS)
    for layer in range(n_layers):
        block = {x: weights[f"blocks.{layer}.attn.{x}"] for x in ("W_K", "W_V", "W_O", "b_Q")}
        block["b_Q"][:, 0] = 10 * config.attn_scale
        block["W_K"][:, LETTERS:tokens, 0] = 1
        block["W_V"][:, :tokens, :LETTERS] = torch.eye(LETTERS).repeat(2, 1)
        block["W_V"][:, LETTERS:tokens, LETTERS] = 1
        block["W_O"][:, :LETTERS, answer] = torch.eye(LETTERS)
        block["W_O"][:, LETTERS, flag] = 1
    return Transformer(config, weights)


def letters(rows: int, seed: int, marked: bool) -> Tensor:
    """Random letters, of which one is marked or none is."""
    generator = torch.Generator().manual_seed(seed)
    where = torch.randint(PLACES, (rows, 1), generator=generator)
    found = torch.randint(LETTERS, (rows, PLACES), generator=generator)
    return found + LETTERS * (torch.arange(PLACES) == where) * marked


def pair(ablation: Ablation = "zero", rows: int = 96) -> tuple[Problem, Circuit]:
    """Two heads of which either suffices, where a source has no mark."""
    model = finders(1, 2)
    problem = make_problem(model, letters(rows, 0, True), letters(rows, 1, False), "categorical", None, ablation)
    return problem, Circuit(model.graph, frozenset((*one_head("a0.h0"), *one_head("a0.h1"))))


INHIBITION = "a0.h0->a1.h0<q>"


def backup(ablation: Ablation = "zero", rows: int = 96) -> tuple[Problem, Circuit]:
    """A head in layer 1 that looks for the mark only if the head in layer 0 has found none."""
    model = finders(2, 1)
    model.weights["blocks.1.attn.W_Q"][0, -1, 0] = -model.weights["blocks.1.attn.b_Q"][0, 0]
    problem = make_problem(model, letters(rows, 0, True), letters(rows, 1, False), "categorical", None, ablation)
    return problem, Circuit(model.graph, frozenset((*one_head("a0.h0"), *one_head("a1.h0"), INHIBITION)))


def compiled(case: str, rows: int) -> Callable[[Ablation], tuple[Problem, Circuit]]:
    """A compiled reference on fresh inputs."""

    def made(ablation: Ablation) -> tuple[Problem, Circuit]:
        subject = load_subject(case, "tracr")
        data = fresh_data(subject.case, rows, 0).head(rows)
        return make_problem(
            subject.model, data.clean, data.source, subject.case.output, data.scored, ablation
        ), subject.circuit

    return made


def majority(ablation: Ablation) -> tuple[Problem, Circuit]:
    """The trained subject with three copies, of which two suffice."""
    folder, case = HERE / "data" / "majority", runpy.run_path(str(HERE / "majority.py"))["majority_case"]()
    subject = read_subject(folder, case, "siit")
    data = fresh_data(case, 32, 3)
    return make_problem(subject.model, data.clean, data.source, "categorical", data.scored, ablation), subject.circuit


def values_by_hand(problem: Problem) -> dict[str, Tensor]:
    """What cut edges carry, by writer, `[row, position, feature]`: from plain runs, and by the words of the manual."""
    places, source = None, problem.corrupted
    if problem.ablation == "positions":
        places = permuted_places(*source.shape, problem.seed)
    with torch.no_grad():
        outputs = PLAIN["forward"](problem.model, source, places=places)[1]
    if problem.ablation == "mean":
        return {name: out.mean(0, keepdim=True).expand_as(out) for name, out in outputs.items()}
    return {name: out * (problem.ablation != "zero") for name, out in outputs.items()}


def share_of_answers(problem: Problem, logits: Tensor) -> Tensor:
    """Share of scored positions at which logits `[*, row, position, class]` say what the whole model says."""
    full = problem.model(problem.clean)
    close = (logits - full).abs()[..., 0] < ATOL
    same = close if problem.output == "numerical" else logits.argmax(-1) == full.argmax(-1)
    return (same & problem.scored).sum((-1, -2)) / problem.scored.sum()


@dataclass(frozen=True)
class Search:
    """All subsets of the true edges, and those that are sufficient but without any one edge are not."""

    true: tuple[str, ...]
    subsets: np.ndarray
    shares: np.ndarray

    @property
    def minimal(self) -> list[frozenset[str]]:
        enough = self.shares >= ENOUGH
        n = len(self.true)
        found = []
        for number in np.flatnonzero(enough):  # the subset is the binary form of its number
            less = [number - (1 << i) for i in range(n) if number >> i & 1]
            if not any(enough[each] for each in less):
                found.append(frozenset(edge for i, edge in enumerate(self.true) if number >> i & 1))
        return found

    @property
    def classes(self) -> dict[str, str]:
        often = {edge: sum(edge in each for each in self.minimal) for edge in self.true}
        kinds = {0: "dispensable", len(self.minimal): "core"}
        return {edge: kinds.get(count, "alternative") for edge, count in often.items()}


@torch.no_grad()
def search(problem: Problem, circuit: Circuit) -> Search:
    true = tuple(edge for edge in problem.graph.edges if edge in circuit.edges)
    n = len(true)
    assert n <= 12
    subsets = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    masks = torch.ones(1 << n, problem.graph.n_edges)
    masks[:, problem.graph.indices(true)] = torch.from_numpy(~subsets).float()
    values = values_by_hand(problem)
    other = torch.stack([values[name].permute(2, 1, 0) for name in problem.graph.writers])
    logits = (problem.model(problem.clean, some, other) for some in masks.split(64))
    shares = torch.cat([share_of_answers(problem, each) for each in logits])
    for number in np.random.default_rng(0).integers(1 << n, size=4):  # the batch against one plain run at a time
        cut = [edge for edge, is_cut in zip(problem.graph.edges, masks[number].tolist()) if is_cut]
        plain = PLAIN["forward"](problem.model, problem.clean, cut, values)[0]
        assert share_of_answers(problem, plain) == pytest.approx(shares[number].item(), abs=0.02)
    return Search(true, subsets, shares.numpy().round(6))


def without_invisible(classes: Mapping[str, str]) -> dict[str, str]:
    return {edge: "dispensable" if kind == "invisible" else kind for edge, kind in classes.items()}


TOYS: dict[str, Callable[[Ablation], tuple[Problem, Circuit]]] = {
    "numerical": lambda ablation: toy_problem("numerical", ablation=ablation),
    "categorical": lambda ablation: toy_problem("categorical", ablation=ablation),
    "pair": pair,
    "backup": backup,
    "case 3": compiled("3", 64),
    "case 4": compiled("4", 16),
    "case 7": compiled("7", 64),
    "case 15": compiled("15", 64),
    "case 18": compiled("18", 32),
}
EVERY = [(name, ablation) for name in TOYS for ablation in ABLATIONS]


@pytest.mark.parametrize(("name", "ablation"), EVERY)
def test_random_orders_find_what_a_search_through_all_subsets_finds(name: str, ablation: Ablation) -> None:
    agree(*TOYS[name](ablation))


@pytest.mark.parametrize("ablation", ["resample", "positions", "zero"])
def test_random_orders_find_the_same_in_the_subject_with_three_copies(ablation: Ablation) -> None:
    agree(*majority(ablation))


def test_random_orders_find_the_same_in_case_2_with_positions_permuted() -> None:
    agree(*compiled("2", 12)("positions"))


def agree(problem: Problem, circuit: Circuit) -> None:
    found, searched = classify(problem, circuit), search(problem, circuit)
    assert found.bare == pytest.approx(searched.shares[-1], abs=1e-5)
    if found.bare < ENOUGH:
        assert found.of_edges is None and found.smallest is None and found.together is None
        return
    assert found.of_edges is not None and found.kept is not None and found.together is not None
    assert without_invisible(found.of_edges) == searched.classes
    assert frozenset(found.smallest or ()) in searched.minimal
    assert len(found.smallest or ()) == min(map(len, searched.minimal))
    assert found.together >= ENOUGH
    assert list(found.kept) == list(searched.true) and all(0 <= n <= found.orders for n in found.kept.values())
    mean_size = sum(found.kept.values()) / found.orders
    assert min(map(len, searched.minimal)) <= mean_size <= max(map(len, searched.minimal))


def test_of_a_redundant_pair_each_order_keeps_one() -> None:
    problem, circuit = pair()
    found = classify(problem, circuit)
    assert found.of_edges == dict.fromkeys(circuit.edges, "alternative") and found.kept is not None
    assert {frozenset(each) for each in search(problem, circuit).minimal} == set(
        map(frozenset, (one_head("a0.h0"), one_head("a0.h1")))
    )
    one, other = ({found.kept[edge] for edge in one_head(f"a0.h{head}")} for head in (0, 1))
    assert len(one) == len(other) == 1, "the three edges of a head stand or fall together"
    assert one.pop() + other.pop() == found.orders
    assert len(found.smallest or ()) == 3


@pytest.mark.parametrize("ablation", ["resample", "zero"])
def test_a_backup_is_an_alternative_and_what_keeps_it_quiet_is_dispensable(ablation: Ablation) -> None:
    problem, circuit = backup(ablation)
    found = classify(problem, circuit).of_edges
    ways = dict.fromkeys((*one_head("a0.h0"), *one_head("a1.h0")), "alternative")
    assert found == {**ways, INHIBITION: "dispensable"}


def from_pos(circuit: Circuit) -> frozenset[str]:
    return frozenset(edge for edge in circuit.edges if split_edge(edge)[0] == "pos")


@pytest.mark.parametrize("case", ["2", "3", "4"])
def test_an_edge_from_pos_is_invisible_until_positions_are_permuted(case: str) -> None:
    """Case 2 looks at the mirrored position, 3 and 4 at the earlier ones: each needs to know where it stands."""
    found = {}
    for ablation in ABLATIONS:
        problem, circuit = compiled(case, 64)(ablation)
        found[ablation] = classify(problem, circuit).of_edges or {}
    positional = from_pos(circuit)
    assert positional
    for edge in positional:
        assert found["resample"][edge] == found["mean"][edge] == "invisible"
        assert found.get("zero", {}).get(edge) != "invisible"
        assert found["positions"][edge] != "invisible"
    assert any(found["positions"][edge] == "core" for edge in positional)


def test_the_same_seed_gives_the_same_counts_and_any_seed_the_same_classes() -> None:
    problem, circuit = pair()
    first, again, other = (classify(problem, circuit, seed) for seed in (3, 3, 4))
    assert first == again and first.seed == 3
    assert other.kept != first.kept and other.of_edges == first.of_edges
    (only,) = (classify(problem, circuit, 3, orders=1),)
    assert only.orders == 1 and [edge for edge, n in (only.kept or {}).items() if n] == list(only.smallest or ())
    subject = load_subject("3", "tracr")
    stated = stated_on_card(subject.case, subject.model, subject.circuit, 5)
    assert stated == stated_on_card(subject.case, subject.model, subject.circuit, 5)
    assert list(stated) == ["resample", "positions"] and {each["seed"] for each in stated.values()} == {5}


def test_a_circuit_that_is_not_sufficient_has_no_classes() -> None:
    problem, circuit = toy_problem("categorical", rows=203)
    part = Circuit(circuit.graph, circuit.edges - {"m0->a1.h1<k>"})
    found = classify(problem, part)
    assert found.bare == pytest.approx(search(problem, part).shares[-1], abs=1e-5) and found.bare < ENOUGH
    assert (found.kept, found.of_edges, found.invisible, found.smallest, found.together) == (None,) * 5
    assert found.to_json()["classes"] is None
    assert classify(problem, Circuit(circuit.graph, frozenset())).of_edges is None


def test_a_few_rows_that_come_first_do_not_decide() -> None:
    """On all other rows clean and corrupted inputs are the same: nothing is needed for .994 of the answers."""
    model, rows, differ = toy_problem("categorical")[0].model, 2000, 12
    clean = letters(rows, 0, True)
    corrupted = clean.clone()
    corrupted[:differ] = letters(differ, 1, True)
    problem = make_problem(model, clean, corrupted, "categorical")
    circuit = Circuit(model.graph, frozenset(toy_problem("categorical")[1].edges))
    assert set((classify(problem, circuit).of_edges or {}).values()) == {"dispensable"}


GRAPHS = st.builds(Graph, st.integers(1, 3), st.integers(1, 3))


@settings(deadline=None, max_examples=60)
@given(GRAPHS, st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.3, 0.6]), st.booleans())
def test_kept_edges_on_a_path(graph: Graph, seed: int, density: float, resampled: bool) -> None:
    kept = np.random.default_rng(seed).random(graph.n_edges) < density
    nodes = nx.DiGraph()
    nodes.add_nodes_from([*graph.writers, "logits"])
    ends = [(writer, node_of(reader)) for writer, reader in map(split_edge, graph.edges)]
    nodes.add_edges_from(pair for pair, is_kept in zip(ends, kept) if is_kept)
    reach = {"logits"} | nx.ancestors(nodes, "logits")
    reached = set(graph.writers)
    if resampled:
        reached = {"embed", "pos"} | nx.descendants(nodes, "embed") | nx.descendants(nodes, "pos")
    expected = [is_kept and w in reached and r in reach for (w, r), is_kept in zip(ends, kept)]
    assert graph.on_paths(kept, from_inputs=resampled).tolist() == expected


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(ABLATIONS), st.sampled_from([0.02, 0.1, 0.5]))
def test_edges_off_every_path_and_unchanged_writers_change_no_answer(seed: int, ablation: Ablation, cut: float) -> None:
    """Sufficiency as the search sees it, against masks as they are; all edges of a random model are in the circuit."""
    problem = random_problem("categorical", seed % 1000, ablation)
    rng = np.random.default_rng(seed)
    kept = rng.random((12, problem.graph.n_edges)) >= cut * rng.random((12, 1))
    plainly = problem.answers_kept(torch.from_numpy(~kept).to(problem.full)).numpy()
    shares = Elimination(problem, np.arange(problem.graph.n_edges)).answers_kept(kept)
    assert ((shares >= ENOUGH) == (plainly >= ENOUGH)).all()
    exact = shares >= 0.8  # below, a sample of the rows may have decided
    np.testing.assert_allclose(shares[exact], plainly[exact], atol=1e-9)


NAMES = st.sampled_from([*Graph(1, 2).edges, "ä->\u2192", ""])
FACTS = st.tuples(st.sampled_from(ABLATIONS), st.integers(0, 99), st.integers(1, 9999), st.just(32))


@st.composite
def fields(draw: st.DrawFn) -> tuple[Any, ...]:
    facts, bare = draw(FACTS), draw(st.floats(0, 1))
    if draw(st.booleans()):
        return (*facts, bare)
    kept = draw(st.dictionaries(NAMES, st.integers(0, 32), max_size=6))
    some = st.lists(st.sampled_from(sorted(kept)), unique=True).map(tuple) if kept else st.just(())
    return (*facts, bare, kept, draw(some), draw(some), draw(st.floats(0, 1)))


@given(fields())
def test_classes_survive_json(facts: tuple[Any, ...]) -> None:
    classes = EdgeClasses(*facts)
    again = EdgeClasses.from_json(json.loads(json.dumps(classes.to_json())))
    assert again == classes and again.to_json() == classes.to_json()
    for edge, kind in (classes.of_edges or {}).items():
        count = (classes.kept or {})[edge]
        assert (kind == "core") == (count == 32) and (kind == "alternative") == (0 < count < 32)


GOOD = EdgeClasses("resample", 0, 8, 4, 1.0, {"a": 4, "b": 0}, ("b",), ("a",), 1.0).to_json()


@pytest.mark.parametrize("key", ["ablation", "seed", "rows", "orders", "bare", "kept", "invisible", "smallest"])
def test_classes_that_lack_something_are_refused(key: str) -> None:
    assert EdgeClasses.from_json(GOOD).of_edges == {"a": "core", "b": "invisible"}
    with pytest.raises(ValueError, match=f"not the classes of edges.*{key}"):
        EdgeClasses.from_json({name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize(
    "change",
    [
        {"kept": ["a"]},
        {"kept": {"a": "many"}},
        {"kept": {"a": None}},
        {"orders": "all"},
        {"bare": None},
        {"invisible": 3},
        {"invisible": "b"},
        {"smallest": "a"},
        {"smallest": None},
        {"invisible": None},
        {"together": "yes"},
        {"together": None},
        {"kept": None},
    ],
)
def test_damaged_classes_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not the classes of edges"):
        EdgeClasses.from_json({**GOOD, **change})


@pytest.fixture
def subject() -> Subject:
    return load_subject("3", "tracr")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERPBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ablations whose classes were found, not read."""
    found: list[str] = []

    def counted(case: Any, model: Any, circuit: Any, ablation: Ablation) -> EdgeClasses:
        found.append(ablation)
        return classify_edges(case, model, circuit, ablation)

    monkeypatch.setattr("interpbench.certificate.classify.classify_edges", counted)
    return found


def test_classes_are_found_once_for_each_ablation_and_read_again(
    subject: Subject, cache: Path, searches: list[str]
) -> None:
    first = edge_classes(subject, "positions")
    assert searches == ["positions"]
    assert edge_classes(load_subject("3", "tracr"), "positions") == first and searches == ["positions"]
    assert edge_classes(subject, "resample") != first and searches == ["positions", "resample"]
    assert len(list(cache.rglob("*.json"))) == 2


def test_classes_of_another_circuit_or_other_weights_are_found_anew(
    subject: Subject, cache: Path, searches: list[str]
) -> None:
    edge_classes(subject, "zero")
    smaller = Circuit(subject.circuit.graph, subject.circuit.edges - {"pos->a1.h0<q>"})
    edge_classes(replace(subject, circuit=smaller), "zero")
    other = {**subject.model.weights, "unembed.b_U": subject.model.weights["unembed.b_U"] + 1}
    edge_classes(replace(subject, model=Transformer(subject.model.config, other)), "zero")
    assert searches == ["zero"] * 3


@pytest.mark.parametrize("damage", [b"", b"{", b"{}", b"\xff\xfe", b'{"kept": {"a": 1}}'])
def test_a_damaged_file_in_the_cache_is_found_anew(
    subject: Subject, cache: Path, searches: list[str], damage: bytes
) -> None:
    first = edge_classes(subject, "resample")
    (file,) = cache.rglob("*.json")
    intact = file.read_bytes()
    file.write_bytes(damage)
    assert edge_classes(subject, "resample") == first and len(searches) == 2
    assert file.read_bytes() == intact


def test_a_cache_that_cannot_be_written_only_costs_time(subject: Subject, cache: Path, searches: list[str]) -> None:
    cache.write_text("a file where a folder should be")
    assert edge_classes(subject, "resample") == edge_classes(subject, "resample")
    assert searches == ["resample"] * 2


def with_card(subject: Subject, entry: Any) -> Subject:
    return replace(subject, card={**subject.card, "edge_classes": entry})


def test_the_card_is_believed_about_its_own_circuit_only(subject: Subject, cache: Path, searches: list[str]) -> None:
    own = EdgeClasses("resample", 0, 8, 4, 1.0, dict.fromkeys(subject.circuit.edges, 4), (), (), 1.0)
    assert edge_classes(with_card(subject, {"resample": own.to_json()}), "resample") == own and not searches
    assert not cache.exists()
    assert stated_classes(with_card(subject, {"resample": own.to_json()}), "positions") is None
    another = replace(own, kept={"embed->m0": 4})
    carded = with_card(subject, {"resample": another.to_json()})
    assert stated_classes(carded, "resample") is None
    assert edge_classes(carded, "resample").of_edges != another.of_edges and searches == ["resample"]
    assert stated_classes(with_card(subject, None), "resample") is None


def test_damaged_classes_on_a_card_are_an_error_that_names_the_case(subject: Subject) -> None:
    with pytest.raises(InterpbenchError, match="the card of case 3: not the classes of edges"):
        edge_classes(with_card(subject, {"resample": {"kept": {}}}), "resample")
