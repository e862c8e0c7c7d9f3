"""Our transformers in TransformerLens and back: the same logits, and hooks that change what they say they change."""

from __future__ import annotations

import itertools
import re
import runpy
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import interpbench as ib
from interpbench.problem import make_problem
from interpbench.subjects.subject import Subject
from interpbench.transformer import Transformer, initialize
from interpbench.transformer.config import KINDS, Config

pytestmark = pytest.mark.filterwarnings("ignore")
lens_ = pytest.importorskip("transformer_lens")
SUBJECTS = (("3", "siit"), pytest.param(("ioi", "siit"), marks=pytest.mark.slow), ("3", "tracr"))
OLD = "HookedTransformer" in vars(lens_)
BRIDGE = pytest.param("to_bridge", marks=pytest.mark.skipif(OLD, reason="the bridge came with TransformerLens 4"))
NAMES = ("normalization_type", "attention_dir", "act_fn")
EVERY_KIND = list(itertools.product(*map(KINDS.__getitem__, NAMES)))


@pytest.fixture(scope="module")
def lens() -> Any:
    from interpbench.transformer import lens

    return lens


@pytest.fixture(params=SUBJECTS, ids="-".join)
def subject(request: pytest.FixtureRequest) -> Subject:
    return ib.load_subject(*request.param)


def inputs(subject: Subject, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(subject.case.pairs(20, seed)[0])


def random_model(
    norm: str | None = None, direction: str = "causal", act: str = "relu", scale: float = 0.0
) -> Transformer:
    """In double precision, with random biases and norms too."""
    config = Config(2, 3, 12, 4, 10, 6, 7, 5, act, direction, norm, scale)
    generator = torch.Generator().manual_seed(0)
    weights = initialize(config, 0).weights
    noisy = {name: w + 0.3 * torch.randn(w.shape, generator=generator) for name, w in weights.items()}
    return Transformer(config, noisy).to(dtype=torch.float64)


TOKENS = torch.randint(7, (4, 6), generator=torch.Generator().manual_seed(1))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["to_hooked", BRIDGE])
def test_logits_are_ours(subject: Subject, kind: str) -> None:
    tokens = inputs(subject)
    with torch.no_grad():
        assert close(getattr(subject, kind)()(tokens), subject.model(tokens))


@pytest.mark.parametrize(("norm", "direction", "act"), EVERY_KIND)
@pytest.mark.parametrize("kind", ["Hooked", BRIDGE])
def test_every_kind_of_model(lens: Any, norm: str | None, direction: str, act: str, kind: str) -> None:
    """Also the scale of exactly 1 that the bridge refuses to be made with."""
    for scale in (1.0, 8.0):
        model = random_model(norm, direction, act, scale)
        made = getattr(lens, kind)(model)
        assert torch.allclose(made(TOKENS), model(TOKENS), atol=1e-9)
        back = lens.from_lens(made)
        assert back.config == model.config
        assert all(torch.equal(back.weights[name], weight.float()) for name, weight in model.weights.items())


def test_the_cache_holds_what_every_writer_adds(subject: Subject) -> None:
    tokens, model = inputs(subject), subject.to_hooked()
    logits, cache = model.run_with_cache(tokens)
    assert isinstance(cache, lens_.ActivationCache) and close(logits, subject.model(tokens))
    outputs = dict(zip(subject.model.graph.writers, subject.model.writers(tokens).movedim(-1, -3).mT, strict=True))
    for name, out in outputs.items():
        if name.startswith("a"):
            layer, head = name[1:].split(".h")
            there = cache["result", int(layer)][:, :, int(head)]
        else:
            there = cache[{"embed": "hook_embed", "pos": "hook_pos_embed"}.get(name, f"blocks.{name[1:]}.hook_mlp_out")]
        assert close(there, out), name
    assert close(cache["resid_mid", 0], cache["resid_pre", 0] + cache["attn_out", 0])
    assert torch.equal(cache["attn_scores", 0].softmax(-1), cache["pattern", 0])


@pytest.mark.skipif(OLD, reason="the bridge came with TransformerLens 4")
def test_the_cache_holds_what_the_bridge_has(lens: Any) -> None:
    """The bridge has no hooks on single heads, its norms run once a layer, and its scores are masked otherwise."""
    for norm, direction, act in EVERY_KIND:
        model = random_model(norm, direction, act)
        ours, theirs = (made.run_with_cache(TOKENS)[1] for made in (lens.Hooked(model), lens.to_bridge(model)))
        apart = ("q_input", "k_input", "v_input", "hook_result", "hook_attn_scores")
        names = [name for name in ours if not name.endswith(apart)]
        assert len(names) > 20 and set(names) <= set(theirs.keys())
        for name in names:
            mine = ours[name][:, :, 0] if ".ln1." in name else ours[name]
            assert torch.allclose(mine, theirs[name], atol=1e-9), name


@pytest.mark.skipif(not OLD, reason="TransformerLens 4 has no HookedTransformer")
def test_every_activation_is_that_of_a_hooked_transformer(lens: Any) -> None:
    """Version 2 has the hook of a norm behind its weights."""
    flags = {"use_attn_result": True, "use_split_qkv_input": True, "use_hook_mlp_in": True, "dtype": torch.float64}
    for norm, direction, act in EVERY_KIND:
        model = random_model(norm, direction, act, 8.0)
        ours = lens.Hooked(model)
        theirs = lens_.HookedTransformer(lens_.HookedTransformerConfig(**asdict(model.config), **flags))
        wrong = theirs.load_state_dict(ours.state_dict(), strict=False)
        assert not wrong.unexpected_keys and all(key.endswith(lens.BUFFERS) for key in wrong.missing_keys)
        cache, expected = (made.run_with_cache(TOKENS)[1] for made in (ours, theirs))
        assert set(expected.keys()) - set(cache.keys()) <= {"unembed.hook_in", "unembed.hook_out"}
        for name in cache.keys():
            if norm != "LN" or "normalized" not in name:
                assert torch.allclose(cache[name], expected[name], atol=1e-5), name
        assert lens.from_lens(theirs).config == model.config


@pytest.mark.skipif(not OLD, reason="for an old TransformerLens")
def test_an_old_version_has_no_bridge() -> None:
    with pytest.raises(
        ib.UsageError, match=r"needs transformer-lens 4 or later, not [23]\.\d+\.\d+; use to_hooked\(\)"
    ):
        ib.load_subject("3").to_bridge()


@pytest.mark.parametrize("reader", ["a1.h2<q>", "a1.h0<k>", "a0.h1<v>", "m1", "m0"])
def test_cutting_an_edge_by_hooks_is_cutting_it_by_mask(lens: Any, reader: str) -> None:
    """A hook on one input of one head, the others unmoved: what no bridge can do."""
    model = random_model("LN", "causal", "gelu")
    clean, source = TOKENS, TOKENS.flip(0)
    delta = model.writers(source) - model.writers(clean)
    writers = [edge.split("->")[0] for edge in model.graph.edges if edge.endswith(f"->{reader}")]
    layer = reader[1]

    def add(value: torch.Tensor, hook: Any) -> torch.Tensor:
        moved = delta[[model.graph.writers.index(name) for name in writers]].sum(0).permute(2, 1, 0)
        if reader[0] == "a":
            value[:, :, int(reader[4])] += moved
            return value
        return value + moved

    name = f"hook_{reader[-2]}_input" if reader[0] == "a" else "hook_mlp_in"
    logits = lens.Hooked(model).run_with_hooks(clean, fwd_hooks=[(f"blocks.{layer}.{name}", add)])
    mask = torch.from_numpy(model.graph.mask([f"{writer}->{reader}" for writer in writers])).double()
    assert not torch.allclose(logits, model(clean), atol=1e-3)
    assert torch.allclose(logits, model(clean, mask, model.writers(source)), atol=1e-9)


def test_all_hooks_fire_forwards_and_backwards(lens: Any) -> None:
    model = lens.Hooked(random_model("LNPre"))
    forward, backward = [], []
    model.add_hook(lambda name: True, lambda value, hook: forward.append(hook.name))
    model.add_hook(lambda name: True, lambda value, hook: backward.append(hook.name), "bwd")
    model(TOKENS).sum().backward()
    assert set(forward) == set(backward) == set(model.hook_dict)


def test_weights_are_there_as_in_a_hooked_transformer(lens: Any) -> None:
    model = random_model()
    hooked = lens.Hooked(model)
    assert dict(hooked.named_parameters()).keys() == model.weights.keys()
    assert torch.equal(hooked.W_O, torch.stack([model.weights[f"blocks.{i}.attn.W_O"] for i in range(2)]))
    assert torch.equal(hooked.W_pos, model.weights["pos_embed.W_pos"]) and hooked.cfg.use_split_qkv_input
    with torch.no_grad():
        hooked.blocks[0].mlp.W_in += 1
    assert not torch.equal(hooked.W_in[0], model.weights["blocks.0.mlp.W_in"]), "a copy"
    with pytest.raises(AttributeError, match="W_X"):
        hooked.W_X  # noqa: B018
    assert hooked(TOKENS, return_type=None) is None
    with pytest.raises(ValueError, match="expected 'logits'"):
        hooked(TOKENS, return_type="loss")


@pytest.mark.parametrize("kind", ["to_hooked", BRIDGE])
def test_there_and_back_is_the_same_subject(subject: Subject, kind: str) -> None:
    back = ib.from_transformer_lens(getattr(subject, kind)(), subject.case.name, subject.circuit)
    assert back.weights_hash == subject.weights_hash and back.model.config == subject.model.config
    assert back.classes == subject.classes and back.circuit == subject.circuit
    ours, theirs = (ib.run("eap", each, samples=50) for each in (subject, back))
    assert np.array_equal(ours.scores.values, theirs.scores.values) and ours.metrics == theirs.metrics
    assert theirs.record["model"] == "custom" and theirs.record["program_digest"] == ours.record["program_digest"]


@pytest.mark.skipif(OLD, reason="the bridge came with TransformerLens 4")
def test_the_lines_of_the_documentation() -> None:
    page = (Path(__file__).parent.parent / "docs" / "other-tools.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    names: dict[str, Any] = {"ib": ib, "subject": ib.load_subject("3")}
    exec(code, names)
    assert names["again"].weights_hash == names["subject"].weights_hash
    assert isinstance(names["bridge"], lens_.TransformerBridge)


def test_the_circuit_is_the_cases_own_by_default() -> None:
    subject = ib.load_subject("3")
    back = ib.from_transformer_lens(subject.to_hooked(), "3")
    assert back.circuit == subject.circuit


def test_models_that_do_not_fit_are_refused_in_one_line(lens: Any) -> None:
    subject = ib.load_subject("3")
    hooked = subject.to_hooked()
    with pytest.raises(ib.UsageError, match="does not fit case 7: .*tokens; the case has"):
        ib.from_transformer_lens(hooked, "7", subject.circuit)
    with pytest.raises(ib.UsageError, match=r"case ioi is not in a model of this shape: no edge"):
        ib.from_transformer_lens(hooked, "ioi")
    with pytest.raises(ib.UsageError, match="does not fit case 3: a circuit of Graph"):
        ib.from_transformer_lens(hooked, "3", ib.load_subject("ioi").circuit)
    with pytest.raises(ib.UsageError, match="Linear has no `cfg`"):
        ib.from_transformer_lens(torch.nn.Linear(2, 2), "3")
    hooked.cfg.positional_embedding_type = "rotary"
    with pytest.raises(ib.UsageError, match="positional_embedding_type = 'rotary'; only 'standard'"):
        lens.from_lens(hooked)
    hooked.cfg.positional_embedding_type, hooked.cfg.normalization_type = "standard", "RMS"
    with pytest.raises(ib.UsageError, match="normalization_type is 'RMS', expected one of"):
        lens.from_lens(hooked)
    hooked.cfg.normalization_type = "LN"
    with pytest.raises(ib.UsageError, match=r"weight blocks.0.ln1.b is missing"):
        lens.from_lens(hooked)


def test_without_a_scale_it_is_one(lens: Any) -> None:
    hooked = lens.Hooked(random_model(scale=1.0))
    hooked.cfg.use_attn_scale = False
    assert lens.from_lens(hooked).config.attn_scale == 1
    hooked = lens.Hooked(random_model())
    hooked.cfg.attn_scale = -1
    assert lens.from_lens(hooked).config.attn_scale == 2


def spoil_scale(model: Any) -> None:
    model.cfg.use_attn_scale = False


def spoil_hook(model: Any) -> None:
    model.add_perma_hook("blocks.0.hook_mlp_out", lambda value, hook: value + 0.1)


def spoil_activation(model: Any) -> None:
    model.cfg.act_fn = "gelu"


def spoil_weight(model: Any) -> None:
    next(model.parameters()).data[0, 0] = torch.nan


@pytest.mark.parametrize("spoil", [spoil_scale, spoil_hook, spoil_activation, spoil_weight])
@pytest.mark.parametrize("kind", ["Hooked", BRIDGE])
def test_a_model_that_computes_something_else_is_refused(lens: Any, kind: str, spoil: Any) -> None:
    model = getattr(lens, kind)(random_model())
    lens.from_lens(model)
    spoil(model)
    with pytest.raises(ib.UsageError, match=r"outputs differ from those of its conversion by up to (\d|nan).* of"):
        lens.from_lens(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rounding_is_no_difference(lens: Any, dtype: torch.dtype) -> None:
    model = random_model("LN", "causal", "gelu").to(dtype=dtype)
    assert lens.from_lens(lens.Hooked(model)).weights["unembed.W_U"].dtype == torch.float32


@pytest.mark.skipif(not OLD, reason="TransformerLens 4 has no HookedTransformer")
def test_to_hooked_is_a_hooked_transformer_where_there_is_one(subject: Subject) -> None:
    hooked = subject.to_hooked()
    assert isinstance(hooked, lens_.HookedTransformer) and isinstance(hooked.cfg, lens_.HookedTransformerConfig)


@pytest.mark.parametrize("direction", ["causal", "bidirectional"])
def test_a_model_is_what_eap_ig_and_mib_ask_for(lens: Any, direction: str) -> None:
    """A stand-in for their code: tokens from the model, its configuration, a mask, hooks that write in place."""
    model = random_model("LNPre", direction, "gelu")
    problem = make_problem(model, TOKENS, TOKENS.flip(0), "categorical")
    hooked, graph = lens.Hooked(model), model.graph
    helpers = runpy.run_path(str(Path(__file__).parent / "benchmarks" / "hooks.py"))
    (writers, readers), at = helpers["points_of"](graph), helpers["_edges"]
    assert hooked.tokenizer is None and hooked.cfg.n_key_value_heads is None
    assert not hooked.cfg.use_normalization_before_and_after and not hooked.cfg.parallel_attn_mlp
    clean, corrupted = (
        hooked.to_tokens(rows, prepend_bos=True, padding_side="right", truncate=False)
        for rows in (list(problem.clean), problem.corrupted.tolist())
    )
    every = torch.ones_like(clean)
    changes: dict[str, torch.Tensor] = {}
    scores = torch.zeros(graph.n_edges, dtype=hooked.cfg.dtype, device=hooked.cfg.device)

    def keep(value: torch.Tensor, hook: Any, sign: int = 1) -> None:
        changes[hook.name] = changes.get(hook.name, 0) + sign * helpers["_by_writer"](value.detach())

    def differ(value: torch.Tensor, hook: Any) -> None:
        keep(value, hook, -1)

    def score(slope: torch.Tensor, hook: Any) -> None:
        for edges, by in zip(at(graph, hook.name), helpers["_by_writer"](slope), strict=True):
            all_changes = torch.cat([changes[name] for name in writers])[: edges.stop - edges.start]
            scores[edges] += (all_changes * by).sum((1, 2, 3))

    def cut(value: torch.Tensor, hook: Any) -> torch.Tensor:
        if hook.name == readers[-1]:
            value += torch.cat([changes[name] for name in writers]).sum(0)
        return value

    with torch.inference_mode(), hooked.hooks([(name, keep) for name in writers]):
        hooked(corrupted, attention_mask=every)
    with hooked.hooks([(name, differ) for name in writers], [(name, score) for name in readers]):
        problem.loss(hooked(clean, attention_mask=every), "logit-diff").backward()
        hooked.zero_grad()
    expected = problem.gradients(torch.zeros(1, graph.n_edges), "logit-diff")[0]
    assert torch.allclose(scores, expected, atol=1e-9)
    with torch.inference_mode(), hooked.hooks([(name, cut) for name in readers]):
        logits = hooked(clean, attention_mask=every)
    cut_off = torch.from_numpy(graph.mask(edge for edge in graph.edges if edge.endswith("->logits")))
    assert torch.allclose(logits, problem.logits(cut_off), atol=1e-9)


def test_what_a_model_without_a_tokenizer_refuses(lens: Any) -> None:
    hooked = lens.Hooked(random_model())
    for texts in ("a b", ["a b", "c d"]):
        with pytest.raises(ValueError, match="expected token ids, such as those of Case.encode"):
            hooked.to_tokens(texts)
    with pytest.raises(ValueError, match="attention_mask hides positions"):
        hooked(TOKENS, attention_mask=TOKENS.new_ones(TOKENS.shape).tril())


def test_without_transformer_lens_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformer_lens", None)
    monkeypatch.delitem(sys.modules, "interpbench.transformer.lens", raising=False)
    subject = ib.load_subject("3")
    for ask in (subject.to_hooked, subject.to_bridge, lambda: ib.from_transformer_lens(None, "3")):
        with pytest.raises(ib.MissingExtra, match=r"pip install 'interpbench\[lens\]'"):
            ask()


def test_integrated_gradients_through_hooks_are_the_problems_own() -> None:
    case, subject = ib.load_case("3"), ib.load_subject("3")
    problem = make_problem(subject.model, *case.pairs(50, 0), case.output)
    hooks = runpy.run_path(str(Path(__file__).parent / "benchmarks" / "hooks.py"))
    through_hooks = hooks["hooked_eap_ig"](subject.to_hooked(), problem, "shift", 2)
    masks = torch.tensor([[0.25], [0.75]]).expand(2, problem.graph.n_edges)
    assert np.allclose(through_hooks, problem.gradients(masks, "shift").mean(0).numpy(), rtol=1e-4, atol=1e-6)
