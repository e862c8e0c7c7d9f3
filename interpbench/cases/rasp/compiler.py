"""Compile a RASP program into a reference transformer with its variables and its true circuit.

Tracr's front end extracts the graph, infers bases and assigns one craft block to each expression. The weights are then
assembled here in numpy, because Tracr's own assembly runs JAX. The result is an ordinary `Transformer`.
Source of the construction: Lindner et al. 2023 (arXiv 2301.05062).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from interpbench.cases.alignment import Alignment
from interpbench.cases.case import Case
from interpbench.cases.rasp.reference import RaspReference
from interpbench.cases.tokens import BOS, PAD
from interpbench.errors import UsageError, one_line
from interpbench.graph.names import edge_name, head_name, mlp_name, node_of, readers_of, split_edge
from interpbench.transformer.config import Config
from interpbench.transformer.model import Transformer

if TYPE_CHECKING:
    from tracr.rasp.rasp import RASPExpr, SOp


def compile_program(
    program: SOp, case: Case, causal: bool, subject: Mapping[str, int], alignment: Alignment
) -> RaspReference:
    """Compile a program as Tracr does, into our transformer.

    `subject` overrides sizes of the subject's default shape (see `subject_config`). Raises UsageError for a program
    that Tracr cannot compile, or that does not fit the case.
    """
    with refused_in_one_line(case):
        expressions = _expressions(program)
        _refuse(expressions, case)
        _number(expressions)
        extracted, plan = _plan(program, case)
        model = _assemble(plan, causal)
    edges = frozenset(_true_edges(extracted.graph, extracted.sink, _locate(extracted.graph, plan)))
    used = {node_of(end) for edge in edges for end in split_edge(edge)}
    return RaspReference(
        program=program,
        model=model,
        edges=edges,
        components=tuple(node for node in model.graph.nodes if node in used),
        classes=tuple(d.value for d in plan.output.basis) if case.output == "categorical" else None,
        subject_config=subject_config(model.config, subject),
        directions=tuple(str(direction.name) for direction in plan.residual.basis),
        partial=case.partial,
        alignment=alignment,
    )


@dataclass(frozen=True)
class _Plan:
    """The heads and MLPs of a compiled program with their places, and its vector spaces, as Tracr's objects."""

    heads: list[tuple[int, int, Any]]
    """Layer, index in the layer, and attention block."""
    mlps: list[tuple[int, Any]]
    """Layer and MLP block."""
    tokens: Any
    indices: Any
    output: Any
    residual: Any


def _plan(program: SOp, case: Case) -> tuple[Any, _Plan]:
    """Tracr's front end: the extracted graph of the program, with a craft block on every expression, and the plan."""
    from tracr.compiler import basis_inference, craft_graph_to_model, expr_to_craft_graph, nodes, rasp_to_graph
    from tracr.craft import bases, transformers
    from tracr.rasp import rasp

    extracted = rasp_to_graph.extract_rasp_graph(program)
    basis_inference.infer_bases(extracted.graph, extracted.sink, set(case.vocab), case.max_length)
    bos = bases.BasisDirection(rasp.tokens.label, BOS)
    expr_to_craft_graph.add_craft_components_to_rasp_graph(extracted.graph, bos_dir=bos, mlp_exactness=100)
    craft = craft_graph_to_model.craft_graph_to_model(extracted.graph, extracted.sources)

    layers = _layers(craft.blocks)
    attention = [(layer, block.as_multi()) for layer, block in layers if not isinstance(block, transformers.MLP)]
    tokens = bases.VectorSpaceWithBasis.from_values(rasp.tokens.label, {*case.vocab, BOS, PAD})
    indices = bases.VectorSpaceWithBasis.from_values(rasp.indices.label, range(case.max_length))
    output = bases.VectorSpaceWithBasis(extracted.sink[nodes.OUTPUT_BASIS])
    residual = bases.join_vector_spaces(craft.residual_space, tokens, indices, output)
    _refuse_spaces(output, residual)
    return extracted, _Plan(
        heads=[(layer, h, head) for layer, block in attention for h, head in enumerate(block.heads())],
        mlps=[(layer, block) for layer, block in layers if isinstance(block, transformers.MLP)],
        tokens=tokens,
        indices=indices,
        output=output,
        residual=residual,
    )


def _expressions(program: SOp) -> list[RASPExpr]:
    """The program's expressions, each once, breadth first."""
    found: dict[int, RASPExpr] = {id(program): program}
    queue: list[RASPExpr] = [program]
    for expr in queue:
        fresh = {id(child): child for child in expr.children if id(child) not in found}
        found |= fresh
        queue.extend(fresh.values())
    return queue


def _number(expressions: Iterable[RASPExpr]) -> None:
    """Number the program's expressions.

    Tracr's labels end in a count over all expressions of the process, and the order of the residual stream follows
    the labels: without this the same program would compile to permuted weights, and another digest, each time.
    """
    for number, expr in enumerate(expressions):
        vars(expr)["unique_id"] = f"{number:04d}"


@contextmanager
def refused_in_one_line(case: Case) -> Iterator[None]:
    """Turn any error inside into a UsageError of one line that names the case.

    Tracr refuses programs with errors of many kinds, and the functions in a program can raise anything.
    """
    try:
        yield
    except Exception as error:  # what exactly is Tracr's, or the program's, to say
        raise UsageError(f"case {case.name}: its program cannot be compiled: {one_line(error)}") from error


def _refuse(expressions: Sequence[RASPExpr], case: Case) -> None:
    """Raise UsageError for what Tracr refuses without saying why, or compiles to wrong answers."""
    from tracr.compiler import validating
    from tracr.rasp import rasp

    program = expressions[0]
    kinds = (rasp.TokensType, rasp.IndicesType, rasp.Map, rasp.SequenceMap, rasp.Select, rasp.Aggregate)
    unknown = [type(expr).__name__ for expr in expressions if not isinstance(expr, (*kinds, rasp.SelectorWidth))]
    invalid = [f"{each.expr.name}: {each.reason}" for each in validating.static_validate(program)]
    if unknown:
        why = f"Tracr compiles no {unknown[0]}"
    elif invalid:
        why = " ".join(invalid[0].split())
    elif len(expressions) == 1:
        why = "it only repeats its input"
    elif program.annotations["encoding"].value != case.output:
        why = f"its output is {program.annotations['encoding'].value}, the case's {case.output}"
    elif taken := sorted({BOS, PAD} & set(case.vocab)):
        why = f"the token {taken[0]} is reserved"
    else:
        return
    raise UsageError(why)


def _refuse_spaces(output: Any, residual: Any) -> None:
    """Raise UsageError for spaces without a meaning: no answer at all, or directions whose order goes in a circle.

    Numbers are ordered by size, and a number and a text by their texts: 2 < 10 < "1a" < 2. Tracr pairs directions by
    their order, so a model with such values answers wrongly, and differently from process to process.
    """
    if not output.basis:
        raise UsageError("it has no value anywhere")
    values: dict[str, list[Any]] = {}
    for direction in residual.basis:
        values.setdefault(direction.name, []).append(direction)
    for same in values.values():
        if len({isinstance(each.value, str) for each in same}) > 1 and any(b < a for a, b in combinations(same, 2)):
            raise UsageError(f"numbers and texts of {same[0].name} have no order; make all of them texts")


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


def _layers(blocks: Iterable[Any]) -> list[tuple[int, Any]]:
    """Craft blocks with their layers: attention and MLP alternate, and a missing one leaves its place empty."""
    from tracr.craft.transformers import MLP

    half, placed = 0, []
    for block in blocks:
        half += (half % 2) != isinstance(block, MLP)
        placed.append((half // 2, block))
        half += 1
    return placed


def _assemble(plan: _Plan, causal: bool) -> Transformer:
    """The compiled model: weights in TransformerLens's names and shapes."""
    config = _reference_config(plan, causal)
    weights = {name: np.zeros(shape) for name, shape in config.weight_shapes().items()}
    for name, matrix in _embeddings(plan).items():
        weights[name][-len(matrix) :] = matrix  # BOS has no position: its row stays zero
    for layer, h, head in plan.heads:
        for name, matrix in _head_matrices(head, plan.residual).items():
            weights[f"blocks.{layer}.attn.{name}"][h, : matrix.shape[0], : matrix.shape[1]] = matrix
    for layer, block in plan.mlps:
        for name, matrix in _mlp_matrices(block, plan.residual).items():
            weights[f"blocks.{layer}.mlp.{name}"][: matrix.shape[0], : matrix.shape[1]] = matrix
    return Transformer(config, {k: torch.tensor(v, dtype=torch.float32) for k, v in weights.items()})


def _reference_config(plan: _Plan, causal: bool) -> Config:
    """The smallest shape that holds the program's heads and MLPs."""
    return Config(
        n_layers=1 + max([layer for layer, *_ in plan.heads] + [layer for layer, _ in plan.mlps]),
        n_heads=1 + max((h for _, h, _ in plan.heads), default=0),
        d_model=plan.residual.num_dims,
        d_head=max((max(*head.w_qk.matrix.shape, head.w_ov.matrix.shape[1]) for _, _, head in plan.heads), default=1),
        d_mlp=max((block.fst.output_space.num_dims for _, block in plan.mlps), default=1),
        n_ctx=len(plan.indices.basis) + 1,
        d_vocab=plan.tokens.num_dims,
        d_vocab_out=plan.output.num_dims,
        act_fn="relu",
        attention_dir="causal" if causal else "bidirectional",
    )


def _embeddings(plan: _Plan) -> dict[str, np.ndarray]:
    """Token embedding, with the constant direction if there is one, position embedding, and unembedding."""
    from tracr.craft import bases
    from tracr.craft.vectorspace_fns import project

    tokens = project(plan.tokens, plan.residual).matrix.copy()
    one = bases.BasisDirection("one")
    if one in plan.residual:
        tokens[:, plan.residual.basis.index(one)] = 1
    positions, answers = project(plan.indices, plan.residual).matrix, project(plan.residual, plan.output).matrix
    return {"embed.W_E": tokens, "pos_embed.W_pos": positions, "unembed.W_U": answers}


def _head_matrices(head: Any, residual: Any) -> dict[str, np.ndarray]:
    from tracr.craft.vectorspace_fns import project

    return {
        "W_Q": project(residual, head.w_qk.left_space).matrix @ head.w_qk.matrix,
        "W_K": project(residual, head.w_qk.right_space).matrix,
        "W_V": project(residual, head.w_ov.input_space).matrix @ head.w_ov.matrix,
        "W_O": project(residual, head.w_ov.output_space).matrix.T,
    }


def _mlp_matrices(block: Any, residual: Any) -> dict[str, np.ndarray]:
    from tracr.craft.vectorspace_fns import project

    return {
        "W_in": project(residual, block.fst.input_space).matrix @ block.fst.matrix,
        "W_out": block.snd.matrix @ project(residual, block.snd.output_space).matrix.T,
    }


def _locate(graph: Any, plan: _Plan) -> dict[str, tuple[str | None, str | None]]:
    """For every expression that compiles to something: its head and its MLP (either may be None)."""
    from tracr.compiler import nodes
    from tracr.craft.transformers import MLP, AttentionHead

    heads = {id(head): head_name(layer, h) for layer, h, head in plan.heads}
    outputs = [(layer, set(block.snd.output_space.basis)) for layer, block in plan.mlps]
    where = {}
    for name, node in graph.nodes.items():
        block = node.get(nodes.MODEL_BLOCK)
        if block is None:
            continue
        parts = block.blocks if hasattr(block, "blocks") else [block]
        head = next((heads[id(part)] for part in parts if isinstance(part, AttentionHead)), None)
        basis = set(node[nodes.OUTPUT_BASIS])
        has_mlp = any(isinstance(part, MLP) for part in parts)
        mlp = next(mlp_name(layer) for layer, space in outputs if basis <= space) if has_mlp else None
        where[name] = (head, mlp)
    return where


def _true_edges(graph: Any, sink: Any, where: Mapping[str, tuple[str | None, str | None]]) -> Iterable[str]:
    """Edges along which the program's values flow.

    An aggregate reads queries, keys and values; a selector's width reads queries and keys, and its MLP reads its head;
    a map reads its operands. Constants (the `one` direction, BOS) do not depend on the input and make no edge here; see
    `RaspReference.constants`.
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

    yield edge_name(writer(sink[nodes.EXPR]), "logits")
    for name, (head, mlp) in where.items():
        expr = graph.nodes[name][nodes.EXPR]
        if head:
            query, key, value = readers_of(head)
            yield edge_name(writer(expr.selector.queries), query)
            yield edge_name(writer(expr.selector.keys), key)
            yield edge_name(head, mlp) if mlp else edge_name(writer(expr.sop), value)
        elif mlp:
            operands = (expr.fst, expr.snd) if isinstance(expr, rasp.SequenceMap) else (expr.inner,)
            yield from (edge_name(writer(operand), mlp) for operand in operands)
