"""Baselines that look at nothing (`random`), or at activations alone (`norm`)."""

from __future__ import annotations

import zlib

import numpy as np

from interpbench import Discovery, EdgeScores, UsageError
from interpbench.problem import Problem
from interpbench.transformer import output_deviation

MERGED = (
    "at heads and nodes a name takes the largest score of the edges that merge into it; names differ in how many "
    "those are, so that chance is not 0.5 there"
)


def random_scores(problem: Problem) -> Discovery:
    """Uniform scores, independent for each edge; no circuit is chosen.

    The model and its inputs decide them beside the seed, so that cases with graphs of one size are drawn independently.
    """
    tensors = (problem.clean, *(problem.model.weights[name] for name in sorted(problem.model.weights)))
    about = 0
    for tensor in tensors:
        about = zlib.crc32(tensor.contiguous().cpu().numpy().tobytes(), about)
    rng = np.random.default_rng([problem.seed, about])
    scores = EdgeScores(problem.graph, rng.uniform(size=problem.graph.n_edges))
    return Discovery(scores, notes={"method": "independent uniform scores", "chance": MERGED})


def norm_scores(problem: Problem) -> Discovery:
    """The smaller deviation, over the clean inputs, of an edge's two nodes; no circuit is chosen.

    Raises UsageError for a single input.
    """
    if len(problem.clean) < 2:
        raise UsageError("'norm' measures how much nodes vary over inputs: at least 2 samples, not 1")
    deviation = output_deviation(problem.model, problem.clean).double().cpu().numpy()
    of_node = dict(zip(problem.graph.writers, deviation.tolist(), strict=True))
    scores = EdgeScores.of_nodes(problem.graph, of_node)
    return Discovery(scores, notes={"method": "the smaller deviation of the two nodes", "deviation": of_node})
