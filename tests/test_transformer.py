"""The masked transformer: plain and other run, independence, gradients, an independent implementation."""

import doctest
import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interpbench import transformer
from interpbench.transformer import Config, Tap, Transformer, initialize

ROWS = 3

configs = st.builds(
    Config,
    n_layers=st.integers(1, 3),
    n_heads=st.integers(1, 3),
    d_model=st.sampled_from([6, 10]),
    d_head=st.sampled_from([2, 9]),
    d_mlp=st.just(7),
    n_ctx=st.just(5),
    d_vocab=st.just(6),
    d_vocab_out=st.integers(1, 4),
    act_fn=st.sampled_from(["relu", "gelu", "gelu_new"]),
    attention_dir=st.sampled_from(["causal", "bidirectional"]),
    normalization_type=st.sampled_from([None, "LN", "LNPre"]),
    attn_scale=st.sampled_from([0.0, 3.0]),
)


def random_model(config: Config, seed: int = 0) -> Transformer:
    """Random weights, biases and norms too, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        k: v + 0.3 * torch.randn(v.shape, generator=generator) for k, v in initialize(config, seed).weights.items()
    }
    return Transformer(config, weights).to(dtype=torch.float64)


def two_inputs(config: Config, rows: int = ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(config.d_vocab, (2, rows, config.n_ctx), generator=generator)
    return tokens[0], tokens[1]


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-9, rtol=1e-7)


@given(configs)
@settings(deadline=None, max_examples=20)
def test_a_run_at_other_places_is_that_of_a_model_with_permuted_positions(config: Config) -> None:
    model, (tokens, _) = random_model(config), two_inputs(config)
    places = torch.stack(
        [torch.randperm(config.n_ctx, generator=torch.Generator().manual_seed(i)) for i in range(ROWS)]
    )
    for row, at in zip(tokens, places, strict=True):
        moved = Transformer(config, {**model.weights, "pos_embed.W_pos": model.weights["pos_embed.W_pos"][at]})
        assert close(model.writers(row[None], at), moved.writers(row[None]))
    each = [model.logits(row[None], at[None])[0] for row, at in zip(tokens, places, strict=True)]
    assert close(model.logits(tokens, places), torch.stack(each))
    assert close(
        model.writers(tokens, places)[..., 1, :, :, :].movedim(-1, 0).mT, model.weights["pos_embed.W_pos"][places]
    )


@given(configs)
@settings(deadline=None, max_examples=40)
def test_mask_0_is_the_plain_run_and_mask_1_the_other(config: Config) -> None:
    model = random_model(config)
    clean, source = two_inputs(config)
    other = model.writers(source)
    edges = model.graph.n_edges
    for grad in (False, True):  # with a gradient nothing may be skipped
        zero, one = (torch.full((edges,), v, dtype=torch.float64, requires_grad=grad) for v in (0.0, 1.0))
        assert close(model(clean, zero, other), model(clean))
        assert close(model(clean, one, other), model(source))


def test_logits_have_the_masks_leading_dimensions_even_where_nothing_is_cut() -> None:
    model = random_model(Config(2, 2, 6, 3, 7, 5, 6, 4))
    clean, source = two_inputs(model.config)
    zeros = torch.zeros(2, 3, model.graph.n_edges, dtype=torch.float64)
    assert model(clean, zeros, model.writers(source)).shape == (2, 3, ROWS, 5, 4)


@given(configs, st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_skipping_what_nobody_reads_changes_nothing(config: Config, seed: int) -> None:
    model = random_model(config)
    clean, source = two_inputs(config)
    other = model.writers(source)
    mask = (torch.rand(4, model.graph.n_edges, generator=torch.Generator().manual_seed(seed)) < 0.8).double()
    assert close(model(clean, mask, other), model(clean, mask.clone().requires_grad_(), other))


@given(configs, st.integers(0, 9), st.data())
@settings(deadline=None, max_examples=40)
def test_what_is_known_is_not_computed_again(config: Config, seed: int, data: st.DataObject) -> None:
    """Outputs before the first cut are those of the plain run; a writer that nobody reads any more is left out."""
    model, (clean, other) = random_model(config), two_inputs(config)
    graph, plain = model.graph, model.run(clean)[1]
    layer = data.draw(st.integers(0, config.n_layers))
    readers = torch.tensor(graph.edge_reader) // graph.readers_per_layer
    mask = (torch.rand(2, graph.n_edges, generator=torch.Generator().manual_seed(seed)) < 0.6) & (readers >= layer)
    mask |= torch.tensor([edge.startswith(f"{graph.writers[-1]}->") for edge in graph.edges])
    arguments = (clean, mask.double(), model.writers(other))
    known = plain[: graph.writers_before_attention(layer)]
    assert close(model.run(*arguments, known=known)[0], model.run(*arguments)[0])
    replaced = torch.zeros(len(graph.writers), ROWS, dtype=torch.bool)
    replaced[-1, 1:] = True
    known = plain[: graph.writers_before_mlp(config.n_layers - 1)]
    of_nodes = {"other": model.writers(other), "replaced": replaced}
    assert close(model.run(clean, **of_nodes, known=known)[0], model.run(clean, **of_nodes)[0])


@given(configs)
@settings(deadline=None, max_examples=20)
def test_circuits_and_rows_are_independent(config: Config) -> None:
    model = random_model(config)
    clean, source = two_inputs(config)
    other = model.writers(source)
    masks = torch.rand(ROWS, model.graph.n_edges, dtype=torch.float64)
    together = model(clean, masks, other)
    for c in range(ROWS):
        assert close(together[c], model(clean, masks[c], other))
    per_row = model(clean[:, None], masks, model.writers(source[:, None]))
    for r in range(ROWS):
        assert close(per_row[r, 0], together[r, r])


@given(configs, st.data())
@settings(deadline=None, max_examples=20)
def test_cutting_all_edges_of_a_node_is_an_intervention_on_it(config: Config, data: st.DataObject) -> None:
    model = random_model(config)
    clean, source = two_inputs(config)
    other = model.writers(source)
    node = data.draw(st.sampled_from(model.graph.writers))
    mask = torch.zeros(model.graph.n_edges, dtype=torch.float64)
    mask[model.graph.edges_from(node)] = 1
    replaced = torch.zeros(len(model.graph.writers), ROWS, dtype=torch.bool)
    replaced[model.graph.writers.index(node)] = True
    assert close(model(clean, mask, other), model(clean, other=other, replaced=replaced))


@given(configs)
@settings(deadline=None, max_examples=10)
def test_mask_gradient_equals_finite_differences(config: Config) -> None:
    model = random_model(config)
    clean, source = two_inputs(config, rows=2)
    other = model.writers(source)
    generator = torch.Generator().manual_seed(2)
    mask = torch.rand(model.graph.n_edges, dtype=torch.float64, generator=generator)

    def loss(m: torch.Tensor) -> torch.Tensor:
        return model(clean, m, other).tanh().sum((-1, -2, -3))

    (gradient,) = torch.autograd.grad(loss(mask.requires_grad_()), mask)
    step = 1e-5 * torch.eye(len(mask), dtype=torch.float64)
    with torch.no_grad():
        differences = (loss(mask + step) - loss(mask - step)) / 2e-5
    # relu has kinks: a coordinate on one may be off
    off = ~torch.isclose(gradient, differences, atol=1e-6, rtol=1e-4)
    assert off.sum() <= (2 if config.act_fn == "relu" else 0)


@given(configs)
@settings(deadline=None, max_examples=10)
def test_mask_gradient_is_the_textbook_formula(config: Config) -> None:
    """EAP (arXiv 2310.10348): (activation' - activation) . gradient of the reader's input."""
    model = random_model(config)
    clean, source = two_inputs(config)
    graph, other = model.graph, model.writers(source)
    mask = torch.zeros(graph.n_edges, dtype=torch.float64, requires_grad=True)
    (by_mask,) = torch.autograd.grad(model(clean, mask, other).square().sum(), mask)
    difference = other - model.writers(clean)
    textbook = torch.einsum("wdtn,rdtn->rw", difference, by_readers(model, clean, 0 * mask.detach(), other))
    assert torch.allclose(by_mask, textbook[graph.edge_reader, graph.edge_writer], atol=1e-8, rtol=1e-6)


def by_readers(model: Transformer, clean: torch.Tensor, mask: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Gradient of the sum of squared logits by every reader's input, through the taps."""
    taps: list[Tap] = []
    logits = model(clean, mask, other, taps)
    slopes = torch.autograd.grad(logits.square().sum(), [tap.value for tap in taps])
    return torch.cat([tap.by_inputs(slope) for tap, slope in zip(taps, slopes, strict=True)], -4)


@given(configs)
@settings(deadline=None, max_examples=10)
def test_taps_give_every_circuit_its_own_gradient(config: Config) -> None:
    """Whether circuits or readers share inputs (nothing cut, all cut alike, a part) or not, together as alone."""
    model = random_model(config)
    clean, source = two_inputs(config)
    graph, other = model.graph, model.writers(source)
    generator = torch.Generator().manual_seed(0)
    shares = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)[:, None].expand(3, graph.n_edges)
    late = shares * (torch.arange(graph.n_edges) >= graph.n_edges // 2)
    anyhow = torch.rand(3, graph.n_edges, generator=generator, dtype=torch.float64)
    for masks in (shares, 0 * shares, late, anyhow):
        asked = masks.clone().requires_grad_()
        (by_mask,) = torch.autograd.grad(model(clean, asked, other).square().sum(), asked)
        readers = by_readers(model, clean, masks, other)
        for mask, expected, slope in zip(masks, by_mask, readers, strict=True):
            outputs = torch.stack(model.run(clean, mask, other)[1])
            told = torch.einsum("wdtn,rdtn->rw", other - outputs, slope)[graph.edge_reader, graph.edge_writer]
            seen = torch.tensor(graph.live_writers(mask.numpy() != 1))[graph.edge_writer]
            assert torch.allclose(told[seen], expected[seen], atol=1e-8, rtol=1e-6)


def test_ablation_by_mean_and_zero() -> None:
    config = Config(2, 2, 6, 3, 7, 5, 6, 4)
    model = random_model(config)
    clean, source = two_inputs(config)
    other = model.writers(source)
    ones = torch.ones(model.graph.n_edges, dtype=torch.float64)
    mean = model(clean, ones, other.mean(-1, keepdim=True))
    assert close(mean[0], mean[1])
    zero = model(clean, ones, torch.zeros_like(other[..., :1]))
    bias = sum(model.weights[f"blocks.{layer}.attn.b_O"] for layer in range(2))
    expected = bias @ model.weights["unembed.W_U"] + model.weights["unembed.b_U"]
    assert close(zero, expected.expand_as(zero))


def test_the_example_of_activations_and_taps_runs() -> None:
    assert doctest.testmod(transformer) == (0, 11)


def test_masks_and_inputs_that_do_not_fit_are_refused() -> None:
    model = random_model(Config(2, 2, 6, 3, 7, 5, 6, 4))
    clean, source = two_inputs(model.config)
    with pytest.raises(ValueError, match=f"one entry for each of the {model.graph.n_edges} edges"):
        model(clean, torch.zeros(3, dtype=torch.float64), model.writers(source))
    with pytest.raises(ValueError, match="without `other`"):
        model(clean, torch.zeros(model.graph.n_edges))
    with pytest.raises(ValueError, match="6 positions; this model has 5"):
        model(torch.zeros(1, 6, dtype=torch.long))


def test_weights_and_configurations_that_do_not_fit_are_refused() -> None:
    model = random_model(Config(1, 1, 4, 2, 3, 5, 6, 4))
    fewer = {k: v for k, v in model.weights.items() if k != "unembed.b_U"}
    with pytest.raises(ValueError, match=r"unembed.b_U is missing"):
        Transformer(model.config, fewer)
    with pytest.raises(ValueError, match="pos is not one of"):
        Transformer(model.config, {**model.weights, "pos": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"has shape \(3,\), expected \(4,\)"):
        Transformer(model.config, {**model.weights, "unembed.b_U": torch.zeros(3)})
    with pytest.raises(ValueError, match="normalization_type is 'RMS'"):
        Config(1, 1, 4, 2, 3, 5, 6, 4, normalization_type="RMS")


def test_attention_scale_defaults_to_the_root_of_the_head() -> None:
    assert Config(1, 1, 4, 9, 3, 5, 6, 4).attn_scale == 3
    assert Config(1, 1, 4, 9, 3, 5, 6, 4, attn_scale=8.0).attn_scale == 8


def lens_logits(model: Transformer, tokens: torch.Tensor) -> torch.Tensor:
    """The same weights in TransformerLens 4's native model, which has no bias at the unembedding."""
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources.native.model import NativeModel

    c, w = model.config, model.weights
    native = NativeModel(
        TransformerBridgeConfig(
            d_model=c.d_model, d_head=c.d_head, n_layers=c.n_layers, n_ctx=c.n_ctx, n_heads=c.n_heads, d_mlp=c.d_mlp,
            d_vocab=c.d_vocab, d_vocab_out=c.d_vocab_out, act_fn=c.act_fn, attention_dir=c.attention_dir,
            normalization_type=c.normalization_type, attn_scale=c.attn_scale, eps=c.eps,
        )
    ).double()  # fmt: skip
    state = {"tok_embed.weight": w["embed.W_E"], "pos.weight": w["pos_embed.W_pos"], "head.weight": w["unembed.W_U"].T}
    for layer in range(c.n_layers):
        at = {k.removeprefix(f"blocks.{layer}."): v for k, v in w.items() if k.startswith(f"blocks.{layer}.")}
        here = {f"attn.{x.lower()}.weight": at[f"attn.W_{x}"].movedim(0, 1).flatten(1).T for x in "QKV"}
        here |= {f"attn.{x.lower()}.bias": at[f"attn.b_{x}"].flatten() for x in "QKV"}
        here |= {"attn.o.weight": at["attn.W_O"].flatten(0, 1).T, "attn.o.bias": at["attn.b_O"]}
        here |= {f"mlp.fc_{x}.weight": at[f"mlp.W_{x}"].T for x in ("in", "out")}
        here |= {f"mlp.fc_{x}.bias": at[f"mlp.b_{x}"] for x in ("in", "out")}
        if c.normalization_type == "LN":
            here |= {f"{n}.{a}": at[f"{n}.{b}"] for n in ("ln1", "ln2") for a, b in (("weight", "w"), ("bias", "b"))}
        state |= {f"layers.{layer}.{k}": v for k, v in here.items()}
    if c.normalization_type == "LN":
        state |= {"ln_out.weight": w["ln_final.w"], "ln_out.bias": w["ln_final.b"]}
    native.load_state_dict(state)
    with torch.no_grad():
        return native(tokens) + w["unembed.b_U"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("norm", [None, "LN", "LNPre"])
@pytest.mark.parametrize(
    ("direction", "act_fn"), [("causal", "gelu"), ("bidirectional", "relu"), ("causal", "gelu_new")]
)
def test_the_plain_run_equals_transformer_lens(norm: str | None, direction: str, act_fn: str) -> None:
    pytest.importorskip("transformer_lens")
    for scale in (0.0, math.pi):
        config = Config(2, 3, 12, 4, 10, 6, 7, 5, act_fn, direction, norm, scale)
        model = random_model(config)
        clean, _ = two_inputs(config)
        assert torch.allclose(model(clean), lens_logits(model, clean), atol=1e-5)


def test_deviation_of_outputs_over_rows() -> None:
    model = random_model(Config(2, 2, 6, 3, 7, 5, 6, 4))
    clean = torch.randint(6, (9, 5), generator=torch.Generator().manual_seed(0))
    found = dict(zip(model.graph.writers, transformer.output_deviation(model, clean).tolist(), strict=True))
    assert found["pos"] == 0 and min(found[node] for node in model.graph.nodes) > 0
    for name, output in zip(model.graph.writers, model.writers(clean).numpy(), strict=True):
        variance = [statistics.variance(at.tolist()) for at in output.reshape(-1, len(clean))]
        assert found[name] == pytest.approx(math.sqrt(statistics.mean(variance)))
    with pytest.raises(ValueError, match="over 1 rows; expected at least 2"):
        transformer.output_deviation(model, clean[:1])
