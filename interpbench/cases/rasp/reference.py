"""A compiled RASP program as a `Reference`: outputs, variables and true circuit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from interpbench.cases.alignment import Alignment
from interpbench.graph.circuit import Circuit
from interpbench.graph.graph import Graph
from interpbench.graph.names import edge_name, is_head, is_mlp, layer_and_head, readers_of, split_edge
from interpbench.transformer.config import Config
from interpbench.transformer.model import Transformer

if TYPE_CHECKING:
    from tracr.rasp.rasp import SOp

AT_ONCE = 1 << 24
"""How many numbers written into the residual stream are held at once."""


@dataclass(frozen=True, eq=False)
class RaspReference:
    """A compiled program: a `Reference` whose variables are the heads and MLPs that the program uses.

    `program` is what was compiled and `model` the result; `edges` are the compiled model's own true circuit;
    `alignment` says where each component sits in the subject, `subject_config` is the shape of the subject;
    `directions` names the expression that each dimension of the residual stream belongs to ("": to none).
    """

    program: SOp
    model: Transformer
    edges: frozenset[str]
    components: tuple[str, ...]
    classes: tuple[Any, ...] | None
    subject_config: Config
    directions: tuple[str, ...]
    partial: bool = False
    alignment: Alignment = field(default_factory=Alignment)

    def __repr__(self) -> str:
        return f"RaspReference({self.model}: {', '.join(self.components)})"

    @property
    def variables(self) -> dict[str, tuple[str, ...]]:
        """Every used component and the subject's node that carries it."""
        return {name: (self.alignment.node(name),) for name in self.components}

    @property
    def unaligned(self) -> RaspReference:
        """The same reference for the compiled model as its own subject: every component in its own place."""
        return replace(self, alignment=Alignment())

    @property
    def constants(self) -> frozenset[str]:
        """Edges by which a head reads its values where the program gives it none: a selector's width weighs BOS.

        What they carry is the same on all inputs. Without it the head writes nothing, which zero ablation shows.
        """
        values = {readers_of(name)[-1] for name in self.components if is_head(name)}
        return frozenset(edge_name("embed", value) for value in values - {split_edge(edge)[1] for edge in self.edges})

    @property
    def true_circuit(self) -> Circuit:
        """The circuit of the compiled model itself, with its constants."""
        return Circuit(self.model.graph, self.edges | self.constants)

    def circuit(self, graph: Graph) -> Circuit:
        """The true circuit, with its constants, carried over to a subject's graph by the alignment."""
        return Circuit(graph, frozenset(map(self.alignment.carry, self.edges | self.constants)))

    def published_circuit(self, graph: Graph) -> Circuit:
        """The circuit that the published benchmark (arXiv 2407.14494) uses as ground truth.

        It omits constants. Where an MLP reads two values and one is computed from the other, it omits the edge of the
        earlier value too. The compiled model depends on these edges: ablating them changes its answers (tested).
        """
        kept = set(self.edges)
        inputs: dict[str, set[str]] = {}
        for edge in self.edges:
            writer, reader = split_edge(edge)
            if is_mlp(reader):
                inputs.setdefault(reader, set()).add(writer)
        for mlp in sorted(inputs, key=layer_and_head):
            kept -= {
                edge_name(older, mlp)
                for older in inputs[mlp]
                if any(edge_name(older, readers_of(newer)[-1]) in kept for newer in inputs[mlp])
            }
        return Circuit(graph, frozenset(map(self.alignment.carry, kept)))

    @cached_property
    def _written(self) -> dict[str, list[list[int]]]:
        """The dimensions of the residual stream that each component writes to, by the value that they hold."""
        written = {}
        for name in self.components:
            layer, head = layer_and_head(name)
            weights = self.model.weights
            into = weights[f"blocks.{layer}.mlp.W_out"] if head is None else weights[f"blocks.{layer}.attn.W_O"][head]
            values: dict[str, list[int]] = {}
            for dimension in into.any(0).nonzero().flatten().tolist():
                if expression := self.directions[dimension]:
                    values.setdefault(expression, []).append(dimension)
            written[name] = list(values.values())
        return written

    @property
    def reading_sizes(self) -> dict[str, tuple[int, ...]]:
        """Number of values of each variable that a component computes; see `Reference.reading_sizes`."""
        return {name: tuple(map(len, values)) for name, values in self._written.items()}

    @cached_property
    def digest(self) -> str:
        """Hash of shape, weights (to six decimals), classes, circuit and alignment."""
        moved = sorted(self.alignment.moved.items())
        facts = [repr(self.model.config), repr(self.classes), *sorted(self.edges), repr(moved)]
        sha = hashlib.sha256(json.dumps(facts).encode())
        for name, weight in sorted(self.model.weights.items()):
            sha.update(name.encode())
            sha.update((weight.double().numpy().round(6) + 0.0).tobytes())
        return sha.hexdigest()[:16]

    def outputs(self, tokens: Tensor, source: Tensor | None = None, variable: Tensor | None = None) -> Tensor:
        """Logits or numbers `[row, position, class]`; see `Reference.outputs`."""
        return torch.cat([self._run(*some)[0] for some in self._parts(tokens, source, variable)])

    def outputs_and_readings(
        self, tokens: Tensor, source: Tensor | None = None, variable: Tensor | None = None
    ) -> tuple[Tensor, dict[str, tuple[Tensor, ...]]]:
        """Outputs, and the values that each component computes, read off the residual stream of the compiled model."""

        def read(out: Tensor) -> Tensor:
            most, which = out.max(0)
            return (most if len(out) == 1 else torch.where(most > 0.5, which, len(out))).T

        logits: list[Tensor] = []
        readings: dict[str, list[list[Tensor]]] = {name: [[] for _ in values] for name, values in self._written.items()}
        for some in self._parts(tokens, source, variable):
            answers, written = self._run(*some)
            logits.append(answers)
            outputs = dict(zip(self.model.graph.writers, written, strict=True))
            for name, values in self._written.items():
                for parts, dimensions in zip(readings[name], values, strict=True):
                    parts.append(read(outputs[name][dimensions]))
        return torch.cat(logits), {name: tuple(map(torch.cat, values)) for name, values in readings.items()}

    def _parts(self, tokens: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
        """All arguments in chunks of rows; a run of one chunk holds about `AT_ONCE` numbers."""
        width = tokens.shape[1] * self.model.config.d_model * len(self.model.graph.writers)
        rows = max(1, AT_ONCE // width)
        for start in range(0, len(tokens), rows):
            yield tuple(each if each is None else each[start : start + rows] for each in (tokens, *others))

    @torch.no_grad()
    def _run(self, tokens: Tensor, source: Tensor | None, variable: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Logits and all writers' outputs, under an interchange intervention if `source` and `variable` are given."""
        if source is None or variable is None:
            return self.model.run(tokens)
        writers = torch.tensor([self.model.graph.writers.index(name) for name in self.components])
        replaced = torch.zeros(len(self.model.graph.writers), len(tokens), dtype=torch.bool)
        replaced[writers] = variable == torch.arange(len(writers))[:, None]
        distinct, which = source.unique(dim=0, return_inverse=True)
        return self.model.run(tokens, other=self.model.writers(distinct)[..., which], replaced=replaced)
