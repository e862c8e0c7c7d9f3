"""Plain implementations to measure ours against: what one writes first, rows outermost, one edge at a time.

Nothing here is shared with the package but the weights, the numbering of edges and the loss.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from interpbench.problem import Loss, Problem


def norm(config, weights, name, x):
    if config.normalization_type is None:
        return x
    x = x - x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + config.eps).sqrt()
    return x * weights[f"{name}.w"] + weights[f"{name}.b"] if config.normalization_type == "LN" else x


ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "gelu_new": lambda x: F.gelu(x, approximate="tanh")}


def forward(model, tokens, cut=(), other=None, keep_gradients=False, mask=None, places=None):
    """Logits, every writer's output and every reader's input, by name; tensors are `[row, position, feature]`.

    Edges in `cut` carry `other`, or each its share of it by `mask`, `[edge]`. `places`: `[row, position]`.
    """
    config, w, graph = model.config, model.weights, model.graph
    cut, outputs, inputs, biases = set(cut), {}, {}, []

    def read(reader):
        if mask is None:
            x = sum(other[w] if f"{w}->{reader}" in cut else out for w, out in outputs.items()) + sum(biases)
        else:
            shares = mask[graph.starts[len(inputs)] :]
            x = sum(out + shares[i] * (other[w] - out) for i, (w, out) in enumerate(outputs.items())) + sum(biases)
        if keep_gradients:
            x.retain_grad()
        inputs[reader] = x
        return x

    n = tokens.shape[1]
    outputs["embed"] = w["embed.W_E"][tokens]
    places = torch.arange(n).expand(len(tokens), -1) if places is None else places
    outputs["pos"] = w["pos_embed.W_pos"][places]
    if keep_gradients:
        outputs["embed"] = outputs["embed"].clone().requires_grad_()
    for layer in range(config.n_layers):
        block, heads = f"blocks.{layer}", {}
        for head in range(config.n_heads):
            q, k, v = (
                norm(config, w, f"{block}.ln1", read(f"a{layer}.h{head}<{x.lower()}>")) @ w[f"{block}.attn.W_{x}"][head]
                + w[f"{block}.attn.b_{x}"][head]
                for x in "QKV"
            )
            scores = q @ k.mT / config.attn_scale
            if config.attention_dir == "causal":
                scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
            heads[f"a{layer}.h{head}"] = scores.softmax(-1) @ v @ w[f"{block}.attn.W_O"][head]
        outputs |= heads
        biases.append(w[f"{block}.attn.b_O"])
        x = norm(config, w, f"{block}.ln2", read(f"m{layer}")) @ w[f"{block}.mlp.W_in"] + w[f"{block}.mlp.b_in"]
        hidden = ACTIVATIONS[config.act_fn](x)
        outputs[f"m{layer}"] = hidden @ w[f"{block}.mlp.W_out"] + w[f"{block}.mlp.b_out"]
    logits = norm(config, w, "ln_final", read("logits")) @ w["unembed.W_U"] + w["unembed.b_U"]
    assert tuple(outputs) == graph.writers
    return logits, outputs, inputs


def plain_acdc(problem: Problem, loss: Loss, tau: float, order: list[int]) -> tuple[set[str], int]:
    """The edges that are left, and how many forward passes it took."""
    edges, cut, passes = problem.graph.edges, set(), 0
    with torch.no_grad():
        _, other, _ = forward(problem.model, problem.corrupted)
        current = problem.loss(forward(problem.model, problem.clean)[0], loss).item()
        for edge in order:
            attempt = problem.loss(forward(problem.model, problem.clean, cut | {edges[edge]}, other)[0], loss).item()
            passes += 1
            if attempt - current < tau:
                cut, current = cut | {edges[edge]}, attempt
    return set(edges) - cut, passes


def plain_eap_ig(problem: Problem, loss: Loss, steps: int) -> np.ndarray:
    """Mean gradient of the loss by the edge masks, one pass for each point of the path."""
    with torch.no_grad():
        _, other, _ = forward(problem.model, problem.corrupted)
    total = torch.zeros(problem.graph.n_edges)
    for step in range(steps):
        mask = torch.full_like(total, (step + 0.5) / steps, requires_grad=True)
        logits, _, _ = forward(problem.model, problem.clean, other=other, mask=mask)
        problem.loss(logits, loss).backward()
        total += mask.grad / steps
    return total.numpy()


def plain_sp(problem: Problem, loss: Loss, weight: float, steps: int, lr: float = 0.01) -> set[str]:
    """Subnetwork probing over edges as published: every step one random mask on all rows, Adam at one rate."""
    with torch.no_grad():
        _, other, _ = forward(problem.model, problem.corrupted)
    generator = torch.Generator().manual_seed(0)
    beta, gamma, zeta = 2 / 3, -0.1, 1.1
    shift = beta * np.log(-gamma / zeta)
    theta = torch.full((problem.graph.n_edges,), np.log(9) + shift, requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=lr)
    for _ in range(steps):
        noise = torch.rand(len(theta), generator=generator).clamp(1e-4, 1 - 1e-4).logit()
        keep = (torch.sigmoid((noise + theta) / beta) * (zeta - gamma) + gamma).clamp(0, 1)
        logits, _, _ = forward(problem.model, problem.clean, other=other, mask=1 - keep)
        optimizer.zero_grad()
        (problem.loss(logits, loss) + weight * torch.sigmoid(theta - shift).mean()).backward()
        optimizer.step()
    return {edge for edge, t in zip(problem.graph.edges, theta.tolist(), strict=True) if t > 0}


def plain_eap(problem: Problem, loss: Loss) -> np.ndarray:
    """The textbook formula, edge by edge, at the clean point."""
    with torch.no_grad():
        _, other, _ = forward(problem.model, problem.corrupted)
    logits, outputs, inputs = forward(problem.model, problem.clean, keep_gradients=True)
    problem.loss(logits, loss).backward()
    scores = []
    for edge in problem.graph.edges:
        writer, reader = edge.split("->")
        scores.append(((other[writer] - outputs[writer]) * inputs[reader].grad).sum().item())
    return np.array(scores)
