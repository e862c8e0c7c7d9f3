"""RASP program -> reference transformer, its variables and its true circuit.

Tracr's front end does what needs its knowledge (graph, bases, one craft block an expression, layers); the weights are
then assembled here, in numpy: Tracr's own assembly runs JAX. The result is our ordinary `Transformer`.
Source of the construction: Lindner et al. 2023 (arXiv 2301.05062).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from interpbench.case import BOS, PAD, Case
from interpbench.graph import Circuit, Graph
from interpbench.transformer import Config, Transformer

if TYPE_CHECKING:
    from tracr.rasp.rasp import RASPExpr, SOp

AT_ONCE = 1 << 24
"""How many numbers written into the residual stream are held at once."""


@dataclass(frozen=True, eq=False)
class RaspReference:
    """A compiled program: a `Reference` whose variables are the heads and MLPs that the program uses.

    `program` is what was compiled and `model` the result; `edges` are the compiled model's own true circuit;
    `alignment` says where a component sits in the subject if not in the same place; `subject` is the shape of the
    subject; `directions` names the expression that each dimension of the residual stream belongs to ("": to none).
    """

    program: SOp
    model: Transformer
    edges: frozenset[str]
    components: tuple[str, ...]
    classes: tuple[Any, ...] | None
    subject: Config
    directions: tuple[str, ...]
    partial: bool = False
    alignment: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, tuple[str, ...]]:
        """Every used component and the subject's node that carries it."""
        return {name: (self.alignment.get(name, name),) for name in self.components}

    @property
    def true_circuit(self) -> Circuit:
        """The circuit of the compiled model itself."""
        return Circuit(self.model.graph, self.edges)

    def circuit(self, graph: Graph) -> Circuit:
        """The true circuit carried over to a subject's graph by the alignment."""
        return Circuit(graph, frozenset(self._carry(edge) for edge in self.edges))

    def published_circuit(self, graph: Graph) -> Circuit:
        """The circuit that the published benchmark (arXiv 2407.14494) takes for the true one.

        Where an MLP reads two values of which one was made from the other, it lacks the edge that carries the older
        one. The compiled model uses those edges all the same: cut, they change its answers (a test shows it).
        """
        kept = set(self.edges)
        inputs: dict[str, set[str]] = {}
        for edge in self.edges:
            writer, reader = edge.split("->")
            if reader.startswith("m"):
                inputs.setdefault(reader, set()).add(writer)
        for mlp in sorted(inputs, key=lambda name: int(name[1:])):
            kept -= {
                f"{older}->{mlp}"
                for older in inputs[mlp]
                if any(f"{older}->{newer}{value}" in kept for newer in inputs[mlp] for value in ("", "<v>"))
            }
        return Circuit(graph, frozenset(map(self._carry, kept)))

    def _carry(self, edge: str) -> str:
        writer, reader = edge.split("->")
        node, bracket, kind = reader.partition("<")
        return f"{self.alignment.get(writer, writer)}->{self.alignment.get(node, node)}{bracket}{kind}"

    @cached_property
    def _written(self) -> dict[str, list[list[int]]]:
        """The dimensions of the residual stream that each component writes to, by the value that they hold."""
        written = {}
        for name in self.components:
            layer, _, head = name[1:].partition(".h")
            kind = "attn.W_O" if head else "mlp.W_out"
            weight = self.model.weights[f"blocks.{layer}.{kind}"]
            values: dict[str, list[int]] = {}
            for dimension in (weight[int(head)] if head else weight).any(0).nonzero().flatten().tolist():
                if expression := self.directions[dimension]:
                    values.setdefault(expression, []).append(dimension)
            written[name] = list(values.values())
        return written

    @property
    def reading_sizes(self) -> dict[str, tuple[int, ...]]:
        """Of what each component computes; see `Reference.reading_sizes`."""
        return {name: tuple(map(len, values)) for name, values in self._written.items()}

    @cached_property
    def digest(self) -> str:
        """Hash of shape, weights (to six decimals), classes, circuit and alignment."""
        facts = [repr(self.model.config), repr(self.classes), *sorted(self.edges), repr(sorted(self.alignment.items()))]
        sha = hashlib.sha256(json.dumps(facts).encode())
        for name, weight in sorted(self.model.weights.items()):
            sha.update(name.encode())
            sha.update((weight.double().numpy().round(6) + 0.0).tobytes())
        return sha.hexdigest()[:16]

    def outputs(
        self,
        tokens: Tensor,
        source: Tensor | None = None,
        variable: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Logits or numbers `[row, position, class]`; see `Reference.outputs`."""
        return torch.cat([self._run(*some)[0] for some in self._parts(tokens, source, variable, where)])

    def outputs_and_readings(
        self,
        tokens: Tensor,
        source: Tensor | None = None,
        variable: Tensor | None = None,
        where: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, tuple[Tensor, ...]]]:
        """The same, and what each component computes, read off the compiled model."""

        def read(out: Tensor) -> Tensor:
            most, which = out.max(0)
            return (most if len(out) == 1 else torch.where(most > 0.5, which, len(out))).T

        logits: list[Tensor] = []
        told: dict[str, list[list[Tensor]]] = {name: [[] for _ in values] for name, values in self._written.items()}
        for some in self._parts(tokens, source, variable, where):
            answers, written = self._run(*some)
            logits.append(answers)
            outputs = dict(zip(self.model.graph.writers, written, strict=True))
            for name, values in self._written.items():
                for parts, dimensions in zip(told[name], values, strict=True):
                    parts.append(read(outputs[name][dimensions]))
        return torch.cat(logits), {name: tuple(map(torch.cat, values)) for name, values in told.items()}

    def _parts(self, tokens: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
        """Some rows of all of them at a time: as many as make a run hold about `AT_ONCE` numbers."""
        width = tokens.shape[1] * self.model.config.d_model * len(self.model.graph.writers)
        rows = max(1, AT_ONCE // width)
        for start in range(0, len(tokens), rows):
            yield tuple(each if each is None else each[start : start + rows] for each in (tokens, *others))

    @torch.no_grad()
    def _run(
        self, tokens: Tensor, source: Tensor | None, variable: Tensor | None, where: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits and all writers' outputs, under an interchange if there is one."""
        if source is None or variable is None:
            return self.model.run(tokens)
        writers = torch.tensor([self.model.graph.writers.index(name) for name in self.components])
        here = torch.ones(1, len(tokens), dtype=torch.bool) if where is None else where.T
        replaced = torch.zeros(len(self.model.graph.writers), *here.shape, dtype=torch.bool)
        replaced[writers] = (variable == torch.arange(len(writers))[:, None])[:, None] & here
        distinct, which = source.unique(dim=0, return_inverse=True)
        return self.model.run(tokens, other=self.model.writers(distinct)[..., which], replaced=replaced)


def compile_program(
    program: SOp, case: Case, causal: bool, subject: Mapping[str, int], alignment: Mapping[str, str]
) -> RaspReference:
    """Compile a program as Tracr does, into our transformer.

    `subject` overrides sizes of the subject's default shape (see `subject_config`). Raises what Tracr raises for a
    program that it cannot compile.
    """
    from tracr.compiler import basis_inference, craft_graph_to_model, expr_to_craft_graph, nodes, rasp_to_graph
    from tracr.craft import bases
    from tracr.rasp import rasp

    _number(program)
    extracted = rasp_to_graph.extract_rasp_graph(program)
    basis_inference.infer_bases(extracted.graph, extracted.sink, set(case.vocab), case.max_length)
    bos = bases.BasisDirection(rasp.tokens.label, BOS)
    expr_to_craft_graph.add_craft_components_to_rasp_graph(extracted.graph, bos_dir=bos, mlp_exactness=100)
    craft = craft_graph_to_model.craft_graph_to_model(extracted.graph, extracted.sources)

    spaces = _Spaces(
        tokens=bases.VectorSpaceWithBasis.from_values(rasp.tokens.label, {*case.vocab, BOS, PAD}),
        indices=bases.VectorSpaceWithBasis.from_values(rasp.indices.label, range(case.max_length)),
        output=bases.VectorSpaceWithBasis(extracted.sink[nodes.OUTPUT_BASIS]),
    )
    layers = _layers(craft.blocks)
    residual = bases.join_vector_spaces(craft.residual_space, spaces.tokens, spaces.indices, spaces.output)
    model = _assemble(craft, layers, spaces, residual, causal)
    where = _locate(extracted.graph, layers)
    edges = frozenset(_true_edges(extracted.graph, extracted.sink, where))
    used = {end.split("<")[0] for edge in edges for end in edge.split("->")}
    return RaspReference(
        program=program,
        model=model,
        edges=edges,
        components=tuple(node for node in model.graph.nodes if node in used),
        classes=tuple(d.value for d in spaces.output.basis) if case.output == "categorical" else None,
        subject=subject_config(model.config, subject),
        directions=tuple(str(direction.name) for direction in residual.basis),
        partial=case.partial,
        alignment=alignment,
    )


def _number(program: SOp) -> None:
    """Number the program's expressions breadth first.

    Tracr's labels end in a count over all expressions of the process, and the order of the residual stream follows
    the labels: without this the same program would compile to permuted weights, and another digest, each time.
    """
    found: dict[int, RASPExpr] = {id(program): program}
    queue: list[RASPExpr] = [program]
    for number, expr in enumerate(queue):
        vars(expr)["unique_id"] = f"{number:04d}"
        fresh = {id(child): child for child in expr.children if id(child) not in found}
        found |= fresh
        queue.extend(fresh.values())


def subject_config(reference: Config, sizes: Mapping[str, int]) -> Config:
    """Shape of a subject for a compiled reference: at least two layers of four heads, GELU, no norm.

    Heads half as wide as the reference's and `d_model = n_heads * d_head`, unless `sizes` says otherwise; the MLP is
    four times as wide as the model (the published rule, arXiv 2407.14494).
    """
    n_heads = max(4, reference.n_heads)
    d_head = sizes.get("d_head", max(1, reference.d_head // 2))
    d_model = sizes.get("d_model", n_heads * d_head)
    return Config(
        n_layers=max(2, reference.n_layers),
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_head,
        d_mlp=sizes.get("d_mlp", 4 * d_model),
        n_ctx=reference.n_ctx,
        d_vocab=reference.d_vocab,
        d_vocab_out=reference.d_vocab_out,
        act_fn="gelu",
        attention_dir=reference.attention_dir,
    )


@dataclass(frozen=True)
class _Spaces:
    tokens: Any
    indices: Any
    output: Any


def _layers(blocks: Iterable[Any]) -> list[tuple[int, Any]]:
    """Craft blocks with their layers: attention and MLP alternate, and a missing one leaves its place empty."""
    from tracr.craft.transformers import MLP

    half, placed = 0, []
    for block in blocks:
        half += (half % 2) != isinstance(block, MLP)
        placed.append((half // 2, block))
        half += 1
    return placed


def _assemble(craft: Any, layers: list[tuple[int, Any]], spaces: _Spaces, residual: Any, causal: bool) -> Transformer:
    """Weights of the compiled model, in TransformerLens's names and shapes."""
    from tracr.craft import bases, transformers
    from tracr.craft.vectorspace_fns import project

    heads = [
        (layer, h, x)
        for layer, block in layers
        if not isinstance(block, transformers.MLP)
        for h, x in enumerate(block.as_multi().heads())
    ]
    mlps = [(layer, block) for layer, block in layers if isinstance(block, transformers.MLP)]
    n_ctx = len(spaces.indices.basis) + 1
    config = Config(
        n_layers=1 + max(layer for layer, _ in layers),
        n_heads=1 + max((h for _, h, _ in heads), default=0),
        d_model=residual.num_dims,
        d_head=max((max(x.w_qk.matrix.shape) for _, _, x in heads), default=1),
        d_mlp=max((block.fst.output_space.num_dims for _, block in mlps), default=1),
        n_ctx=n_ctx,
        d_vocab=spaces.tokens.num_dims,
        d_vocab_out=spaces.output.num_dims,
        act_fn="relu",
        attention_dir="causal" if causal else "bidirectional",
    )
    weights = {name: np.zeros(shape) for name, shape in config.weight_shapes().items()}

    weights["embed.W_E"][:] = project(spaces.tokens, residual).matrix
    one = bases.BasisDirection("one")
    if one in residual:
        weights["embed.W_E"][:, residual.basis.index(one)] = 1
    weights["pos_embed.W_pos"][1:] = project(spaces.indices, residual).matrix
    weights["unembed.W_U"][:] = project(residual, spaces.output).matrix
    for layer, h, head in heads:
        matrices = {
            "W_Q": project(residual, head.w_qk.left_space).matrix @ head.w_qk.matrix,
            "W_K": project(residual, head.w_qk.right_space).matrix,
            "W_V": project(residual, head.w_ov.input_space).matrix @ head.w_ov.matrix,
            "W_O": project(residual, head.w_ov.output_space).matrix.T,
        }
        for name, matrix in matrices.items():
            weights[f"blocks.{layer}.attn.{name}"][h, : matrix.shape[0], : matrix.shape[1]] = matrix
    for layer, block in mlps:
        hidden = block.fst.output_space.num_dims
        inner = project(residual, block.fst.input_space).matrix @ block.fst.matrix
        outer = block.snd.matrix @ project(residual, block.snd.output_space).matrix.T
        weights[f"blocks.{layer}.mlp.W_in"][:, :hidden] = inner
        weights[f"blocks.{layer}.mlp.W_out"][:hidden] = outer
    return Transformer(config, {k: torch.tensor(v, dtype=torch.float32) for k, v in weights.items()})


def _locate(graph: Any, layers: list[tuple[int, Any]]) -> dict[str, tuple[str | None, str | None]]:
    """For every expression that compiles to something: its head and its MLP (either may be None)."""
    from tracr.compiler import nodes
    from tracr.craft.transformers import MLP, AttentionHead

    heads = {
        id(sub): f"a{layer}.h{h}"
        for layer, block in layers
        if not isinstance(block, MLP)
        for h, sub in enumerate(block.as_multi().heads())
    }
    outputs = [(layer, set(block.snd.output_space.basis)) for layer, block in layers if isinstance(block, MLP)]
    where = {}
    for name, node in graph.nodes.items():
        block = node.get(nodes.MODEL_BLOCK)
        if block is None:
            continue
        parts = block.blocks if hasattr(block, "blocks") else [block]
        head = next((heads[id(part)] for part in parts if isinstance(part, AttentionHead)), None)
        basis = set(node[nodes.OUTPUT_BASIS])
        has_mlp = any(isinstance(part, MLP) for part in parts)
        mlp = next(f"m{layer}" for layer, space in outputs if basis <= space) if has_mlp else None
        where[name] = (head, mlp)
    return where


def _true_edges(graph: Any, sink: Any, where: Mapping[str, tuple[str | None, str | None]]) -> Iterable[str]:
    """Edges along which the program's values flow.

    An aggregate reads queries, keys and values; a selector's width reads queries and keys, and its MLP reads its head;
    a map reads its operands. Constants (the `one` direction, BOS) do not depend on the input and make no edge.
    """
    from tracr.compiler import nodes
    from tracr.rasp import rasp

    def writer(expr: Any) -> str:
        if isinstance(expr, rasp.TokensType):
            return "embed"
        if isinstance(expr, rasp.IndicesType):
            return "pos"
        head, mlp = where[expr.label]
        return mlp or head or ""

    yield f"{writer(sink[nodes.EXPR])}->logits"
    for name, (head, mlp) in where.items():
        expr = graph.nodes[name][nodes.EXPR]
        if head:
            yield f"{writer(expr.selector.queries)}->{head}<q>"
            yield f"{writer(expr.selector.keys)}->{head}<k>"
            yield f"{head}->{mlp}" if mlp else f"{writer(expr.sop)}->{head}<v>"
        elif isinstance(expr, rasp.SequenceMap):
            yield from (f"{writer(operand)}->{mlp}" for operand in (expr.fst, expr.snd))
        else:
            yield f"{writer(expr.inner)}->{mlp}"
