"""Cases and compiled references: published facts, golden outputs, Tracr's own model, counterfactuals."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import interpbench
from interpbench.case import ATOL, Case
from interpbench.cases import ioi
from interpbench.rasp import RaspReference

PUBLISHED = json.loads((Path(__file__).parent / "data" / "published_cases.json").read_text())["cases"]
ALL = ["2", "3", "4", "7", "18", "44", "ioi", "ioi_next_token"]


def compiled(name: str) -> tuple[Case, RaspReference]:
    case = interpbench.load_case(name)
    reference = case.reference()
    assert isinstance(reference, RaspReference)
    return case, reference


def decoded(case: Case, logits: torch.Tensor) -> list:
    classes = case.reference().classes
    return [classes[i] for i in logits.argmax(-1)] if classes else logits[:, 0].tolist()


def same(case: Case, a: list, b: list) -> bool:
    return a == b if case.output == "categorical" else np.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_shapes_circuits_and_components_are_the_published_ones(name: str) -> None:
    case, reference = compiled(name)
    facts = PUBLISHED[name]
    for shape, config in (("reference", reference.model.config), ("subject", reference.subject)):
        assert facts[shape] == {k: getattr(config, k) for k in facts[shape]}
    assert reference.true_circuit.edges == set(facts["reference_edges"])
    assert reference.circuit(reference.subject.graph).heads().edges == set(facts["subject_heads"])
    used = [f"a{a}.h{h}" for a, h in facts["used_heads"]] + [f"m{a}" for a in facts["used_mlps"]]
    assert sorted(reference.variables) == sorted(used)


@pytest.mark.parametrize("name", PUBLISHED)
def test_program_and_reference_give_the_golden_outputs(name: str) -> None:
    case, reference = compiled(name)
    for tokens, output in PUBLISHED[name]["io"]:
        assert same(case, case.expected(tokens), output)
        assert same(case, decoded(case, reference.outputs(torch.tensor(case.encode([tokens])))[0, 1:]), output)


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
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_compiled_model_equals_tracrs_own(name: str) -> None:
    """The same residual stream after every half layer as Tracr's JAX model."""
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
    graph = reference.model.graph
    for row, tokens in enumerate(case.decode(inputs)):
        told = theirs.apply(["BOS", *tokens])
        assert theirs.input_encoder.encode(["BOS", *tokens]) == inputs[row].tolist()
        stream = writers[:2, ..., row].sum(0).T
        np.testing.assert_allclose(stream, told.input_embeddings[0], atol=1e-5)
        for layer in range(graph.n_layers):
            first = graph.writers_before_attention(layer)
            stream = stream + writers[first : first + graph.n_heads, ..., row].sum(0).T
            np.testing.assert_allclose(stream, told.residuals[2 * layer][0], atol=1e-5)
            stream = stream + writers[first + graph.n_heads, ..., row].T
            np.testing.assert_allclose(stream, told.residuals[2 * layer + 1][0], atol=1e-5)
        assert same(
            case, decoded(case, reference.outputs(torch.tensor(inputs[row : row + 1]))[0, 1:]), told.decoded[1:]
        )


@pytest.mark.parametrize("name", PUBLISHED)
def test_only_true_edges_matter_in_the_reference(name: str) -> None:
    """With all other edges from another input the reference still answers right: its circuit is complete."""
    case, reference = compiled(name)
    clean, source = (torch.tensor(x) for x in case.pairs(200, 0))
    outside = torch.tensor(1 - reference.true_circuit.mask())
    cut = reference.model(clean, outside, reference.model.writers(source))
    assert torch.allclose(cut[:, 1:], reference.outputs(clean)[:, 1:], atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_interchanging_nothing_or_the_same_input_changes_nothing(name: str) -> None:
    case = interpbench.load_case(name)
    reference = case.reference()
    clean, source = (torch.tensor(x) for x in case.pairs(50, 0))
    plain = reference.outputs(clean)
    assert torch.allclose(plain, reference.outputs(clean, source, torch.full((50,), -1)), atol=1e-5)
    for variable in range(len(reference.variables)):
        chosen = torch.full((50,), variable)
        assert torch.allclose(plain, reference.outputs(clean, clean, chosen), atol=1e-5)
    last = torch.full((50,), len(reference.variables) - 1)
    scored = slice(1, None) if case.scored == "all" else slice(-1, None)
    assert not torch.allclose(plain[:, scored], reference.outputs(clean, source, last)[:, scored], atol=1e-2)


@pytest.mark.parametrize("name", ALL)
def test_data_are_seeded_and_clean_differs_from_corrupted(name: str) -> None:
    case = interpbench.load_case(name)
    clean, corrupted = case.pairs(300, 3)
    again = case.pairs(300, 3)
    assert (clean == again[0]).all() and (corrupted == again[1]).all()
    assert (clean != case.pairs(300, 4)[0]).any(1).mean() > 0.5
    assert (clean != corrupted).any(1).mean() > 0.9
    assert case.encode(case.decode(clean)).tolist() == clean.tolist()
    answers = [case.expected(tokens) for tokens in case.decode(clean[:100])]
    other = [case.expected(tokens) for tokens in case.decode(corrupted[:100])]
    assert np.mean([a != b for a, b in zip(answers, other, strict=True)]) > 0.5


@pytest.mark.parametrize("name", ALL)
def test_the_reference_answers_as_the_program(name: str) -> None:
    case = interpbench.load_case(name)
    clean, _ = case.pairs(100, 5)
    outputs = case.reference().outputs(torch.tensor(clean))[:, 1:]
    for tokens, logits in zip(case.decode(clean), outputs, strict=True):
        for told, value in zip(case.expected(tokens), decoded(case, logits), strict=True):
            if told is not None:
                assert told == value if case.output == "categorical" else abs(told - value) < ATOL / 100


def test_every_input_of_a_small_space() -> None:
    every = interpbench.load_case("3").all_inputs(20_000)
    assert every is not None and len({tuple(row) for row in every.tolist()}) == 4**4
    assert interpbench.load_case("2").all_inputs(20_000) is None
    assert interpbench.load_case("ioi").all_inputs(10**30) is None


def test_ioi_sentences() -> None:
    case = interpbench.load_case("ioi")
    clean, corrupted = (case.decode(x) for x in case.pairs(500, 0))
    orders = set()
    for sentence, abc in zip(clean, corrupted, strict=True):
        names = [word for word in sentence if word in ioi.NAMES]
        assert len(sentence) == ioi.LENGTH and len(names) == 3 and len(set(names)) == 2
        assert len(set(sentence)) == len(sentence) - 1, "no word but a name occurs twice"
        orders.add(names.index(names[2]))
        fresh = [word for word in abc if word in ioi.NAMES]
        assert len(set(fresh)) == 3 and not set(fresh) & set(names)
        assert [w for w in sentence if w not in ioi.NAMES] == [w for w in abc if w not in ioi.NAMES]
    assert orders == {0, 1}


def test_ioi_program_by_hand() -> None:
    case = interpbench.load_case("ioi")
    sentence = "When Mary and John got a ring at the park , John gave it to".split()
    assert case.expected(sentence) == [None] * 14 + ["Mary"]
    logits = case.reference().outputs(torch.tensor(case.encode([sentence])))[0, -1]
    ids = {token: i for i, token in enumerate(case.tokens)}
    assert logits[ids["Mary"]] == 10 and logits[ids["John"]] == 5 and logits[ids["park"]] == 0


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
