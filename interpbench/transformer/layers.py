"""The layers of a transformer, on activations `[*circuit, feature, position, row]` (see `stream.py` for the layout)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from interpbench.transformer.config import Config
from interpbench.transformer.rules import EXACT, Rules, activation, pattern, scaled_gradient

ACTIVATIONS = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
}

BLOCK = tuple(
    [f"attn.{p}_{x}" for p in "Wb" for x in "QKVO"]
    + [f"mlp.{p}_{x}" for p in "Wb" for x in ("in", "out")]
    + [f"{ln}.{p}" for ln in ("ln1", "ln2") for p in "wb"]
)
"""Names of a layer's weights, without the prefix of the layer."""


def affine(weight: Tensor, x: Tensor, bias: Tensor) -> Tensor:
    """`weight @ x + bias` for weight `[*, out, feature]`, x `[*, feature, n]`, bias `[*, out]`, in one pass."""
    if weight.ndim == x.ndim == 2:
        return torch.addmm(bias[:, None], weight, x)
    lead = np.broadcast_shapes(weight.shape[:-2], x.shape[:-2])
    parts = (
        each.expand(*lead, *each.shape[-2:]).reshape(-1, *each.shape[-2:]) for each in (bias[..., None], weight, x)
    )
    return torch.baddbmm(*parts).unflatten(0, lead)


def project(
    config: Config,
    norm: tuple[Tensor, Tensor] | None,
    weight: Tensor,
    bias: Tensor,
    x: Tensor,
    rules: Rules = EXACT,
) -> Tensor:
    """`weight @ norm(x) + bias` for weight `[*, out, feature]`, bias `[*, out]`, x `[*, feature, n]`.

    Centring and a layer norm's learned scale (`norm`: scale and shift, for `LN`) are folded into the weight. The
    division by the standard deviation follows the product, so no normalised copy of `x` is made. The mean is a product
    of its own: as one more row of the weight it would cause a copy of the gradients of all other rows.
    """
    if config.normalization_type is None:
        return affine(weight, x, bias)
    weight, bias = _folded(norm, weight, bias)
    mean_row = torch.full_like(weight[..., :1, :], 1 / config.d_model)
    scale = _inverse_deviation(config, x, mean_row @ x)
    return torch.addcmul(bias[..., None], weight @ x, scale.detach() if rules.constant_norm else scale)


def _folded(norm: tuple[Tensor, Tensor] | None, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias with a layer norm's scale, shift and centring folded in."""
    if norm is not None:
        bias = bias + weight @ norm[1]
        weight = weight * norm[0]
    return weight - weight.mean(-1, keepdim=True), bias


def _inverse_deviation(config: Config, x: Tensor, mean: Tensor) -> Tensor:
    variance = x.square().mean(-2, keepdim=True) - mean.square()
    return torch.rsqrt(variance + config.eps)


def block_of(weights: Mapping[str, Tensor], layer: int) -> dict[str, Tensor]:
    """The weights of a layer, by their names in `BLOCK`."""
    prefix = f"blocks.{layer}."
    return {name: weights[prefix + name] for name in BLOCK if prefix + name in weights}


def norm_of(weights: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor] | None:
    """Scale and shift of a layer norm, None if it has none."""
    return (weights[f"{name}.w"], weights[f"{name}.b"]) if f"{name}.w" in weights else None


def heads_of(config: Config, block: Mapping[str, Tensor], heads: Sequence[int]) -> Mapping[str, Tensor]:
    """The block with the weights of the given heads only."""
    if len(heads) == config.n_heads:
        return block
    return {k: v[heads] if k.startswith("attn.") and v.ndim > 1 else v for k, v in block.items()}


def projections(config: Config, block: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Weight `[3 * head, d_head, d_model]` and bias `[3 * head, d_head]` of q, k, v; q is scaled."""
    scale = {"Q": config.attn_scale, "K": 1.0, "V": 1.0}
    weight = torch.stack([block[f"attn.W_{k}"].mT / scale[k] for k in "QKV"], 1).flatten(0, 1)
    return weight, torch.stack([block[f"attn.b_{k}"] / scale[k] for k in "QKV"], 1).flatten(0, 1)


def project_heads(config: Config, block: Mapping[str, Tensor], x: Tensor, rules: Rules = EXACT) -> Tensor:
    """q, k, v of a layer's heads, `[*circuit, 3 * head, d_head, position, row]`.

    `x` holds their inputs `[*circuit, 3 * head, feature, position, row]`, q, k, v of a head together, or one input
    for all, `[*circuit, 1, ...]`.
    """
    weight, bias = projections(config, block)
    if x.shape[-4] == 1:
        flat = (weight.flatten(0, 1), bias.flatten(), x.squeeze(-4).flatten(-2))
        shared = project(config, norm_of(block, "ln1"), *flat, rules)
        return shared.unflatten(-2, weight.shape[:2]).unflatten(-1, x.shape[-2:])
    return project(config, norm_of(block, "ln1"), weight, bias, x.flatten(-2), rules).unflatten(-1, x.shape[-2:])


def pull_back(
    config: Config, rules: Rules, block: Mapping[str, Tensor], x: Tensor, projected: Tensor, gradient: Tensor
) -> Tensor:
    """Gradient by the input of each reader, `[*circuit, 3 * head, feature, position, row]`.

    `gradient` is that by the `projected` q, k, v; all heads share the input `x`, `[*circuit, 1, feature, position,
    row]`.
    """
    weight, bias = projections(config, block)
    inner, gradient, shape = x.flatten(-2), gradient.flatten(-2), x.shape[-2:]
    if config.normalization_type is None:
        return (weight.mT @ gradient).unflatten(-1, shape)
    weight, bias = _folded(norm_of(block, "ln1"), weight, bias)
    mean = inner.mean(-2, keepdim=True)
    scale = _inverse_deviation(config, inner, mean)
    by_input = weight.mT @ (gradient * scale)
    if rules.constant_norm:
        return by_input.unflatten(-1, shape)
    along = (gradient * (projected.flatten(-2) - bias[..., None])).sum(-2, keepdim=True)
    return by_input.addcmul_(along * scale.square() / -config.d_model, inner - mean).unflatten(-1, shape)


def attention(config: Config, block: Mapping[str, Tensor], projected: Tensor, rules: Rules = EXACT) -> Tensor:
    """Outputs of a layer's heads, `[*circuit, head, feature, position, row]`, without `b_O`; see `project_heads`."""
    qkv = projected.unflatten(-4, (-1, 3))
    causal = config.attention_dir == "causal"
    if rules.exact_attention and _is_small(qkv):
        z = cast(Tensor, _SmallAttention.apply(qkv, causal))
    else:
        z = attend(*qkv.unbind(-4), causal=causal, rules=rules)
    return (block["attn.W_O"].mT @ z.flatten(-2)).unflatten(-1, z.shape[-2:])


def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool, rules: Rules = EXACT) -> Tensor:
    """Softmax attention over positions; all `[*, d_head, position, row]`.

    Small heads keep rows innermost throughout. Large ones are computed row by row, where matrix products are faster.
    """
    q, k, v = (scaled_gradient(x, rules.product) for x in (q, k, v))
    if _is_small(q):
        attended = scaled_gradient(_pattern(q, k, causal, rules), rules.product)
        return _over_positions(attended.transpose(-3, -2), v)
    n = k.shape[-2]
    q, k, v = (x.movedim(-1, -3).contiguous() for x in (q, k, v))
    scores = q.mT @ k
    if causal:
        scores = scores.masked_fill(_later(n, k.device), -torch.inf)
    attended = scaled_gradient(pattern(rules, scores, -1), rules.product)
    return (v @ attended.mT).movedim(-3, -1)


def _is_small(x: Tensor) -> bool:
    """Whether to compute attention along the rows: few features times positions in `[*, d_head, position, row]`."""
    return x.shape[-3] * x.shape[-2] <= 200


def _later(n: int, device: torch.device) -> Tensor:
    """Whether a key is later than a query, `[query, key]`."""
    return torch.ones(n, n, dtype=torch.bool, device=device).triu(1)


def _pattern(q: Tensor, k: Tensor, causal: bool, rules: Rules = EXACT) -> Tensor:
    """Attention of every query to every key, `[*, query, key, row]`."""
    scores = _over_features(q, k)
    if causal:
        scores = scores.masked_fill_(_later(k.shape[-2], k.device)[..., None], -torch.inf)
    return pattern(rules, scores, -2)


class _SmallAttention(torch.autograd.Function):
    """Attention as sums of outer products over features or positions, each a broadcast multiply-add.

    Thousands of matrix products of size ten by ten would mostly be overhead. Here every operation runs along the rows,
    and no intermediate is larger than the scores `[*, query, key, row]`. Queries, keys and values come in one tensor
    `[*, 3, d_head, position, row]`, so their gradients need no concatenation.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, causal: bool) -> Tensor:
        q, k, v = qkv.unbind(-4)
        pattern = _pattern(q, k, causal)
        ctx.save_for_backward(qkv, pattern)
        return _over_positions(pattern.transpose(-3, -2), v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (dz,) = gradients
        qkv, pattern = ctx.saved_tensors
        q, k, v = qkv.unbind(-4)
        slopes = torch.empty_like(qkv)
        dq, dk, dv = slopes.unbind(-4)
        _over_positions(pattern, dz, out=dv)
        ds = pattern * _over_features(dz, v)
        ds = ds - pattern * ds.sum(-2, keepdim=True)
        _over_positions(ds.transpose(-3, -2), k, out=dq)
        _over_positions(ds, q, out=dk)
        return slopes, None


def _over_features(x: Tensor, y: Tensor) -> Tensor:
    """`[*, i, j, row]`: the sum over features of `x[feature, i, row] * y[feature, j, row]`."""
    (first, second), *pairs = zip(x.unsqueeze(-2).unbind(-4), y.unsqueeze(-3).unbind(-4), strict=True)
    total = first * second
    for left, right in pairs:
        total.addcmul_(left, right)
    return total


def _over_positions(weights: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
    """`[*, feature, j, row]`: the sum over positions i of `weights[i, j, row] * x[feature, i, row]`."""
    (first, second), *pairs = zip(weights.unsqueeze(-4).unbind(-3), x.unsqueeze(-2).unbind(-3), strict=True)
    total = torch.mul(first, second, out=out)
    for left, right in pairs:
        total.addcmul_(left, right)
    return total


def mlp(config: Config, block: Mapping[str, Tensor], x: Tensor, rules: Rules = EXACT) -> Tensor:
    """Output of a layer's MLP for its input, both `[*circuit, feature, position, row]`."""
    hidden = project(config, norm_of(block, "ln2"), block["mlp.W_in"].T, block["mlp.b_in"], x.flatten(-2), rules)
    out = affine(block["mlp.W_out"].T, activation(rules, ACTIVATIONS[config.act_fn], hidden), block["mlp.b_out"])
    return out.unflatten(-1, x.shape[-2:])


def unembed(config: Config, weights: Mapping[str, Tensor], x: Tensor, rules: Rules = EXACT) -> Tensor:
    """Logits `[*circuit, row, position, vocab_out]` for their input `[*circuit, feature, position, row]`."""
    norm = norm_of(weights, "ln_final")
    logits = project(config, norm, weights["unembed.W_U"].T, weights["unembed.b_U"], x.flatten(-2), rules)
    return logits.unflatten(-1, x.shape[-2:]).movedim((-3, -2), (-1, -2))
