"""EAP-IG as it is written with TransformerLens: hooks put the mixture of two runs into every reader, one pass a point.

Runs with any TransformerLens: the model is `subject.to_hooked()`, which has HookedTransformer's hook points.
"""

from __future__ import annotations

import torch

from interpbench.graph import Graph
from interpbench.problem import Loss, Problem


def points_of(graph: Graph) -> tuple[list[str], list[str]]:
    """Hook point of every group of writers, and of every group of readers (q, k or v of all heads)."""
    writers, readers = ["hook_embed", "hook_pos_embed"], []
    for layer in range(graph.n_layers):
        block = f"blocks.{layer}"
        readers += [*(f"{block}.hook_{x}_input" for x in "qkv"), f"{block}.hook_mlp_in"]
        writers += [f"{block}.attn.hook_result", f"{block}.hook_mlp_out"]
    return writers, [*readers, f"blocks.{graph.n_layers - 1}.hook_resid_post"]


def hooked_eap_ig(model, problem: Problem, loss: Loss, steps: int):
    """Mean gradient of the loss by the edge masks, `[edge]`, at the middles of `steps` steps from 0 to 1."""
    graph = problem.graph
    writers, readers = points_of(graph)
    with torch.no_grad():
        _, cache = model.run_with_cache(problem.corrupted, names_filter=writers)
        other = {name: _by_writer(cache[name]) for name in writers}
    total = torch.zeros(graph.n_edges)
    for step in range(steps):
        mask = torch.full_like(total, (step + 0.5) / steps, requires_grad=True)
        live = {}

        def keep(value, hook, live=live):
            live[hook.name] = _by_writer(value)

        def mix(value, hook, live=live, mask=mask):
            """Each reader's input: the stream, plus what its cut edges put in place of what they take away."""
            changes = torch.cat([other[name] - out for name, out in live.items()])
            here = torch.stack([mask[edges] for edges in _edges(graph, hook.name)])
            moved = torch.einsum("rw,wbpd->bprd", here, changes)
            return value + (moved if value.ndim == 4 else moved.squeeze(2))

        hooks = [(name, keep) for name in writers] + [(name, mix) for name in readers]
        logits = model.run_with_hooks(problem.clean, fwd_hooks=hooks)
        problem.loss(logits, loss).backward()
        total += mask.grad / steps
    return total.numpy()


def _by_writer(value):
    """`[writer, row, position, d_model]` of what a hook point sees."""
    return value.movedim(2, 0) if value.ndim == 4 else value[None]


def _edges(graph: Graph, name: str) -> list[slice]:
    """Where the edges into each of a hook point's readers are."""
    _, layer, point = name.split(".")
    first = int(layer) * graph.readers_per_layer
    if point == "hook_resid_post":
        wanted = [len(graph.readers) - 1]
    elif point == "hook_mlp_in":
        wanted = [first + 3 * graph.n_heads]
    else:
        wanted = [first + 3 * head + "qkv".index(point[5]) for head in range(graph.n_heads)]
    return [slice(int(graph.starts[i]), int(graph.starts[i + 1])) for i in wanted]
