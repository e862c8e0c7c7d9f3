"""Backward rules: the forward pass stays; gradients are those of a plain model with the same things constant."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from interpbench.transformer import EXACT, GIM, RELP, Config, Rules, Transformer, initialize

SHAPES = {
    "plain": {},
    "norm": {"normalization_type": "LN", "attention_dir": "causal"},
    "large": {"d_head": 40, "normalization_type": "LNPre", "act_fn": "gelu_new"},
}


def made(shape: str) -> tuple[Transformer, Tensor, Tensor]:
    sizes = {"n_layers": 2, "n_heads": 2, "d_model": 8, "d_head": 4, "d_mlp": 16, "n_ctx": 6, "d_vocab": 7}
    config = Config(**{**sizes, "d_vocab_out": 3, **SHAPES[shape]})
    model = initialize(config, 3).to(dtype=torch.float64)
    model = replace(model, weights={name: 3 * weight for name, weight in model.weights.items()})
    clean, corrupted = torch.randint(7, (2, 5, 6), generator=torch.Generator().manual_seed(0))
    return model, clean, corrupted


def plain(model: Transformer, tokens: Tensor, rules: Rules, embed: Tensor) -> Tensor:
    """Sum of all logits at the last position, in the usual layout `[row, position, feature]`."""
    w, config = model.weights, model.config
    act = {"gelu": torch.nn.GELU(), "gelu_new": torch.nn.GELU("tanh")}[config.act_fn]

    def norm(x: Tensor, name: str) -> Tensor:
        if config.normalization_type is None:
            return x
        x = x - x.mean(-1, keepdim=True)
        scale = (x.square().mean(-1, keepdim=True) + config.eps).rsqrt()
        x = x * (scale.detach() if rules.constant_norm else scale)
        return x * w[f"{name}.w"] + w[f"{name}.b"] if config.normalization_type == "LN" else x

    def share(x: Tensor) -> Tensor:
        return rules.product * x + (1 - rules.product) * x.detach()

    x = embed + w["pos_embed.W_pos"][: tokens.shape[1]]
    for layer in range(config.n_layers):
        p = f"blocks.{layer}."
        inner = norm(x, p + "ln1")
        attended = torch.zeros_like(x) + w[p + "attn.b_O"]
        for h in range(config.n_heads):
            q, k, v = (share(inner @ w[p + f"attn.W_{c}"][h] + w[p + f"attn.b_{c}"][h]) for c in "QKV")
            scores = q @ k.mT / config.attn_scale
            if config.attention_dir == "causal":
                scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)
            pattern = scores.softmax(-1)
            if rules.constant_pattern:
                pattern = pattern.detach()
            elif rules.temperature != 1:
                soft = (scores / rules.temperature).softmax(-1)
                pattern = pattern.detach() + soft - soft.detach()
            attended = attended + share(pattern) @ v @ w[p + "attn.W_O"][h]
        x = x + attended
        hidden = norm(x, p + "ln2") @ w[p + "mlp.W_in"] + w[p + "mlp.b_in"]
        out = act(hidden)
        if rules.linear_activation:
            out = hidden * (out / hidden).detach()
        x = x + out @ w[p + "mlp.W_out"] + w[p + "mlp.b_out"]
    return (norm(x, "ln_final") @ w["unembed.W_U"] + w["unembed.b_U"])[:, -1].square().sum()


@pytest.mark.parametrize("rules", [EXACT, RELP, GIM], ids=["exact", "relp", "gim"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_a_plain_model(shape: str, rules: Rules) -> None:
    model, clean, _ = made(shape)
    embed = model.weights["embed.W_E"][clean].requires_grad_()
    total = plain(model, clean, rules, embed)
    (expected,) = torch.autograd.grad(total, embed)
    ruled, taps = replace(model, rules=rules), []
    logits = ruled(clean, taps=taps)
    ours = logits[:, -1].square().sum()
    assert torch.allclose(ours, total)
    gradients = torch.autograd.grad(ours, [tap.value for tap in taps])
    by_reader = torch.cat([tap.by_inputs(each) for tap, each in zip(taps, gradients, strict=True)])
    from_embed = by_reader.sum(0).permute(2, 1, 0)
    assert torch.allclose(from_embed, expected, atol=1e-9)


@pytest.mark.parametrize("rules", [RELP, GIM], ids=["relp", "gim"])
@pytest.mark.parametrize("shape", SHAPES)
def test_rules_change_gradients_and_not_the_forward_pass(shape: str, rules: Rules) -> None:
    model, clean, corrupted = made(shape)
    other, mask = model.writers(corrupted), torch.rand(model.graph.n_edges, dtype=torch.float64)
    ruled = replace(model, rules=rules)
    assert torch.allclose(ruled(clean, mask, other), model(clean, mask, other))
    slopes = []
    for each in (model, ruled):
        at = mask.clone().requires_grad_()
        slopes.append(torch.autograd.grad(each(clean, at, other).square().sum(), at)[0])
    assert not torch.allclose(*slopes)
