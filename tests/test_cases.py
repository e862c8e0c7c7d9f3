"""Cases and compiled references: published facts, golden outputs, Tracr's own model, counterfactuals."""

import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

import interpbench
from interpbench.cases import Case, defined
from interpbench.cases.alignment import Alignment
from interpbench.cases.programs import ioi
from interpbench.cases.rasp import cache as keep
from interpbench.cases.rasp.fingerprint import fingerprint
from interpbench.cases.rasp.reference import RaspReference
from interpbench.catalogue import facts as catalogue
from interpbench.graph.circuit import Circuit
from interpbench.graph.names import node_of, split_edge
from interpbench.plugins import registry
from interpbench.testing.cases import CASE_CHECKS, check_import_is_light
from interpbench.transformer.model import initialize

PUBLISHED = json.loads((Path(__file__).parent / "data" / "published_cases.json").read_text())["cases"]
COMPILED = sorted(PUBLISHED, key=int)
SAMPLE = ("3", "4", "21", "81")
ONE_OF_EACH_MODULE = {case.program.__module__: name for name, case in registry.load().cases.items()}.values()
ALL = [*COMPILED, "ioi", "ioi_next_token"]


def compiled(name: str) -> tuple[Case, RaspReference]:
    case = interpbench.load_case(name)
    reference = case.reference()
    assert isinstance(reference, RaspReference)
    return case, reference


def decoded(case: Case, logits: torch.Tensor) -> list:
    reference = case.reference()
    if not reference.classes:
        return logits[:, 0].tolist()
    there = defined(reference, logits).tolist()
    return [reference.classes[i] if known else None for i, known in zip(logits.argmax(-1), there)]


def same(case: Case, a: list, b: list, atol: float = 1e-5) -> bool:
    if case.output == "numerical":
        return np.allclose(a, b, atol=atol)
    return all(x == (math.inf if y == "Infinity" else y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", PUBLISHED)
def test_shapes_circuits_and_components_are_the_published_ones(name: str) -> None:
    case, reference = compiled(name)
    facts = PUBLISHED[name]
    for shape, config in (("reference", reference.model.config), ("subject", reference.subject_config)):
        assert facts[shape] == {k: getattr(config, k) for k in facts[shape]}
    used = [f"a{a}.h{h}" for a, h in facts["used_heads"]] + [f"m{a}" for a in facts["used_mlps"]]
    assert sorted(reference.variables) == sorted(used)
    published = reference.published_circuit(reference.subject_config.graph).heads().edges
    nodes = {end for edge in published for end in edge.split("->")}
    assert [len(nodes), len(published)] == facts["circuit_nodes_and_edges"]
    if "reference_edges" in facts:
        itself = reference.unaligned.published_circuit(reference.model.graph)
        assert itself.edges == set(facts["reference_edges"])
        assert published == set(facts["subject_heads"])


LACKING = {
    name: compiled(name)[1].edges - compiled(name)[1].published_circuit(compiled(name)[1].model.graph).edges
    for name in ("1", "10", "13", "17", "89", "97", "99", "113", "116", "119", "130")
}


@pytest.mark.parametrize("name", LACKING)
def test_what_the_published_circuit_lacks_is_needed(name: str) -> None:
    """Cutting what it leaves out changes the compiled model's answers: our circuits hold those edges."""
    case, reference = compiled(name)
    assert LACKING[name]
    clean, source = (torch.tensor(x) for x in case.pairs(300, 0))
    mask = torch.tensor(reference.model.graph.mask(sorted(LACKING[name])))
    cut = reference.model(clean, mask, reference.model.writers(source))
    there = defined(reference, reference.outputs(clean))[:, 1:]
    changed = (cut.argmax(-1) != reference.outputs(clean).argmax(-1))[:, 1:] & there
    assert changed.any()


@pytest.mark.parametrize("name", ["18", "129"])
def test_without_its_constant_the_width_of_a_selector_is_the_same_on_all_inputs(name: str) -> None:
    """Whatever the weights, under zero ablation: no circuit that leaves it out is right there."""
    case, reference = compiled(name)
    model = initialize(reference.subject_config, seed=0)
    circuit, clean = reference.circuit(model.graph), torch.tensor(case.pairs(50, 0)[0])
    assert reference.constants <= circuit.edges and not reference.alignment.moved
    zero = torch.zeros(len(model.graph.writers), 1, 1, 1)
    kept = {"with": circuit, "without": Circuit(model.graph, circuit.edges - reference.constants)}
    for which, some in kept.items():
        _, written = model.run(clean, torch.tensor(1 - some.mask()), zero)
        for edge in reference.constants:
            head = written[model.graph.writers.index(node_of(split_edge(edge)[1]))]
            varies = head.std(-1).max() > 1e-4
            assert varies == (which == "with"), edge


@pytest.mark.parametrize("name", [name for name in PUBLISHED if "io" in PUBLISHED[name]])
def test_program_and_reference_give_the_golden_outputs(name: str) -> None:
    case, reference = compiled(name)
    for tokens, output in PUBLISHED[name]["io"]:
        assert same(case, case.expected(tokens), output)
        told = decoded(case, reference.outputs(torch.tensor(case.encode([tokens])))[0, 1:])
        assert same(case, told, output, atol=1e-3)


@pytest.mark.parametrize("name", COMPILED)
def test_the_catalogue_tells_the_truth_and_the_program_has_not_changed(name: str) -> None:
    case, _ = compiled(name)
    assert catalogue.measure(case) == catalogue.facts_of(case)


@pytest.mark.parametrize("name", ["5", "12", "17", "89", "94", "108", "109", "113", "124", "125", "129"])
def test_both_answers_occur_where_random_inputs_would_give_one(name: str) -> None:
    case, _ = compiled(name)
    inputs = case.decode(case.inputs(400, np.random.default_rng(0)))
    if name == "113":
        rare = [list(tokens) == sorted(tokens) for tokens in inputs]
    elif name == "12":
        rare = [any(case.expected(tokens)[2:]) for tokens in inputs]
    elif name == "17":
        rare = [all(case.expected(tokens)) for tokens in inputs]
    else:
        answers = [case.expected(tokens)[0] for tokens in inputs]
        rare = [bool(answer) != (name == "108") for answer in answers]
    assert 0.4 < np.mean(rare) < 0.9


def test_unique_inputs() -> None:
    case = interpbench.load_case("3")
    inputs = case.inputs(200, np.random.default_rng(0), unique=True)
    assert len({tuple(row) for row in inputs.tolist()}) == len(inputs) == 200
    with pytest.raises(ValueError, match="256 different inputs; 300 were asked for"):
        case.inputs(300, np.random.default_rng(0), unique=True)


def test_compiled_references_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERPBENCH_CACHE", str(tmp_path))
    case = interpbench.load_case("34")
    reference = case.reference()

    def again() -> RaspReference:
        return keep.compiled(reference.program, case, True, {"d_model": 16, "d_head": 4}, Alignment())

    first = again()
    (path,) = tmp_path.glob("*.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(keep, "compile_program", None)
        second = again()
    assert first.digest == second.digest == reference.digest and second.classes == reference.classes
    assert second.subject_config == reference.subject_config and second.edges == reference.edges
    path.write_bytes(b"damaged")
    assert again().digest == reference.digest
    monkeypatch.setenv("INTERPBENCH_CACHE", str(path))
    assert again().digest == reference.digest, "a cache that cannot be written to only costs time"


def test_a_fingerprint_tells_what_is_computed_not_how_it_is_written() -> None:
    from tracr.rasp import rasp

    def of(function: object) -> str | None:
        return fingerprint(rasp.Map(function, rasp.tokens), range(5), 4)

    assert of(lambda x: x + x) == of(lambda x: 2 * x) != of(lambda x: 3 * x)
    assert fingerprint(rasp.tokens, "ab", 4) != fingerprint(rasp.tokens, "abc", 4)
    assert fingerprint(rasp.ConstantSOp([1]), "ab", 1) is None


def test_the_digest_does_not_depend_on_what_was_compiled_before() -> None:
    """Tracr numbers expressions per process."""
    code = "import interpbench; print(*[interpbench.load_case(n).reference().digest for n in {}])"
    digests = [
        subprocess.run([sys.executable, "-c", code.format(names)], capture_output=True, text=True, check=True)
        for names in (["4", "18"], ["2", "3", "7", "18", "44", "18", "4"])
    ]
    (four, eighteen), later = (told.stdout.split() for told in digests)
    assert (four, eighteen) == (later[-1], later[-2])
    assert len(set(later)) == 6


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [pytest.param(x, marks=() if x in SAMPLE else pytest.mark.slow) for x in PUBLISHED])
def test_the_compiled_model_equals_tracrs_own(name: str) -> None:
    """The same residual stream after every half layer as Tracr's JAX model, up to the order of its dimensions.

    Tracr sorts them by the names of s-ops, which count what was compiled before: `_10` comes before `_9`.
    """
    from tracr.compiler import compiling

    case, reference = compiled(name)
    theirs = compiling.compile_rasp_to_model(
        reference.program,
        vocab=set(case.vocab),
        max_seq_len=case.max_length,
        causal=reference.model.config.attention_dir == "causal",
        compiler_bos="BOS",
        compiler_pad="PAD",
    )
    inputs = case.inputs(4, np.random.default_rng(0))
    writers = reference.model.writers(torch.tensor(inputs))
    graph, ours, expected = reference.model.graph, [], []
    for row, tokens in enumerate(case.decode(inputs)):
        told = theirs.apply(["BOS", *tokens])
        assert theirs.input_encoder.encode(["BOS", *tokens]) == inputs[row].tolist()
        stream = writers[:2, ..., row].sum(0).T
        ours.append(stream)
        for layer in range(graph.n_layers):
            first = graph.writers_before_attention(layer)
            attended = stream + writers[first : first + graph.n_heads, ..., row].sum(0).T
            stream = attended + writers[first + graph.n_heads, ..., row].T
            ours += [attended, stream]
        expected += [np.asarray(each)[0] for each in (told.input_embeddings, *told.residuals)]
        assert (
            same(case, decoded(case, reference.outputs(torch.tensor(inputs[row : row + 1]))[0, 1:]), told.decoded[1:])
            or reference.partial
        )
    assert len(ours) == len(expected)
    apart = cdist(np.concatenate(ours).T, np.concatenate(expected).T, "chebyshev")
    assert apart[linear_sum_assignment(apart)].max() < 1e-5


@pytest.mark.parametrize("name", COMPILED)
def test_only_true_edges_matter_in_the_reference(name: str) -> None:
    """With all other edges from another input the reference still answers right: its circuit is complete."""
    case, reference = compiled(name)
    clean, source = (torch.tensor(x) for x in case.pairs(200, 0))
    outside = torch.tensor(1 - reference.true_circuit.mask())
    cut = reference.model(clean, outside, reference.model.writers(source))
    assert torch.allclose(cut[:, 1:], reference.outputs(clean)[:, 1:], atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_conformance(name: str) -> None:
    """Data, program, reference and alignment agree: the kit for authors of cases, on core's own."""
    for check in CASE_CHECKS:
        if check is not check_import_is_light or name in ONE_OF_EACH_MODULE:
            check(interpbench.load_case(name))


def test_every_input_of_a_small_space() -> None:
    every = interpbench.load_case("3").all_inputs(20_000)
    assert every is not None and len({tuple(row) for row in every.tolist()}) == 4**4
    assert interpbench.load_case("2").all_inputs(20_000) is None
    assert interpbench.load_case("ioi").all_inputs(10**30) is None


IOI_FORMS = {"own": interpbench.load_case("ioi"), "published": interpbench.load_case("ioi").published_form}


@pytest.mark.parametrize("form", IOI_FORMS)
def test_ioi_sentences(form: str) -> None:
    case = IOI_FORMS[form]
    clean, corrupted = (case.decode(x) for x in case.pairs(2000, 0))
    orders = set()
    for sentence, abc in zip(clean, corrupted, strict=True):
        names = [word for word in sentence if word in ioi.NAMES]
        assert len(sentence) == case.max_length and len(names) == 3 and len(set(names)) == 2
        assert len(set(sentence)) == len(sentence) - 1, "no word but a name occurs twice"
        orders.add(names.index(names[2]))
        fresh = [word for word in abc if word in ioi.NAMES]
        assert len(set(fresh)) == 3 and not set(fresh) & set(names)
        assert [w for w in sentence if w not in ioi.NAMES] == [w for w in abc if w not in ioi.NAMES]
    assert orders == {0, 1}


def test_ioi_names_stand_at_places_that_do_not_tell_of_each_other() -> None:
    arrangements = Counter(_places(IOI_FORMS["own"], seed=1))
    assert set(arrangements) == {(x, y, z) for x in (0, 1, 2) for y in (4, 5, 6) for z in (11, 12, 13)}
    assert min(arrangements.values()) > 0.6 * max(arrangements.values()), "all alike, so that they are independent"
    assert set(_places(IOI_FORMS["published"], seed=1)) == {(1, 3, 11)}


def _places(case: Case, seed: int) -> list[tuple[int, ...]]:
    sentences = case.decode(case.inputs(10_000, np.random.default_rng(seed)))
    return [tuple(i for i, word in enumerate(sentence) if word in ioi.NAMES) for sentence in sentences]


def test_places_enter_the_circuit_of_ioi_where_the_algorithm_needs_them() -> None:
    """The published one, which keeps its program hash, lets them into m0 and through it into all."""
    own, published = (case.reference() for case in IOI_FORMS.values())
    heads = {f"pos->{head}<{x}>" for head in ("a1.h1", "a2.h1") for x in "qkv"}
    circuits = [reference.circuit(reference.subject_config.graph).edges for reference in (own, published)]
    assert circuits[0] - circuits[1] == heads and circuits[1] - circuits[0] == {"pos->m0"}
    assert published.digest == "acf558850fac36a3" != own.digest and own.variables == published.variables


def test_ioi_program_by_hand() -> None:
    case = IOI_FORMS["published"]
    sentence = "When Mary and John got a ring at the park , John gave it to".split()
    assert case.expected(sentence) == [None] * 14 + ["Mary"]
    logits = case.reference().outputs(torch.tensor(case.encode([sentence])))[0, -1]
    ids = {token: i for i, token in enumerate(case.tokens)}
    assert logits[ids["Mary"]] == 10 and logits[ids["John"]] == 5 and logits[ids["park"]] == 0
    moved = "Mary and their friend John got a ring right there , Mary quite gladly gave it to".split()
    assert IOI_FORMS["own"].expected(moved) == [None] * 16 + ["John"]


def test_what_is_no_input_is_refused_with_what_would_be_right() -> None:
    case = interpbench.load_case("3")
    with pytest.raises(ValueError, match="no token 'q'; its tokens: a b c x"):
        case.expected(["q"])
    with pytest.raises(ValueError, match="takes 1 to 4 tokens, not 5"):
        case.expected(["a"] * 5)
    with pytest.raises(ValueError, match="not 0"):
        case.expected([])
    with pytest.raises(ValueError, match="same length"):
        case.encode([["a"], ["a", "b"]])
    assert interpbench.load_case("44").parse(["10", "0"]) == (10, 0)
