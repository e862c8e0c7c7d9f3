"""A drawing of a circuit as SVG: layers as rows from the input at the bottom to the logits on top.

Nodes of the circuit are dark, the others faint. Only the circuit's edges are drawn; edges into q, k and v end at
different points of the head. The SVG is written as text, without a library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from interpbench.graph.circuit import Circuit
from interpbench.graph.graph import Graph
from interpbench.graph.names import head_name, mlp_name, node_of, split_edge, split_reader

WIDTH, HEIGHT = 62, 30
"""Size of a node's box."""

COLUMN, ROW, MARGIN = 96, 112, 36
COLOURS = {"q": "#b8336a", "k": "#2a6f97", "v": "#3a7d44", "": "#333333"}
LEGEND = (("q", "into a query"), ("k", "into a key"), ("v", "into a value"), ("", "into an MLP or the logits"))
JUDGED = {"true": ("#2e7d32", ""), "missed": ("#e08e0b", "7 4"), "false": ("#c62828", "2 3")}
"""Colour and dashes of an edge of a found circuit."""
JUDGED_LEGEND = (("true", "found, and true"), ("missed", "true, but missed"), ("false", "found, but false"))
WIDTHS = {"core": (4.5, ""), "alternative": (2.4, "7 4"), "dispensable": (1.0, ""), "invisible": (1.0, "")}
"""Width and dashes of a true edge by its class."""
CLASS_LEGEND = "bold: core; dashed: alternative; thin: dispensable"
LEGEND_STEP, LEGEND_WIDTH = 128, 620


def circuit_svg(
    circuit: Circuit, title: str = "", found: Circuit | None = None, classes: Mapping[str, str] | None = None
) -> str:
    """The drawing as the text of an SVG file; circuits are at `edges` granularity.

    With `found`, edges are coloured by whether they are found, missed or false; else by what they enter. `classes` has
    the class of each edge of the circuit (`core`, `alternative`, `dispensable`, `invisible`): core edges are bold,
    alternative ones dashed, the others thin.
    """
    graph = circuit.graph
    place = positions(graph)
    kinds, strokes, legend = _kinds(circuit, found)
    used = {node_of(end) for edge in kinds for end in split_edge(edge)}
    nodes = max(x for x, _ in place.values()) + WIDTH / 2 + MARGIN
    width = max(nodes, LEGEND_WIDTH, MARGIN + 8 * len(title))
    height = max(y for _, y in place.values()) + HEIGHT / 2 + MARGIN + 34
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        "<defs>" + "".join(_arrow(kind, colour) for kind, (colour, _) in strokes.items()) + "</defs>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>',
        f'<text x="{MARGIN - 20}" y="24" font-size="15" fill="#111">{escape(title)}</text>',
    ]
    lines += [_row_label(graph, layer, place) for layer in range(graph.n_layers)]
    for edge in graph.edges:
        if edge in kinds:
            colour, dashes = strokes[kinds[edge]]
            thick, dashes = WIDTHS[classes[edge]] if classes and edge in classes else (2.4, dashes)
            lines.append(_edge(edge, kinds[edge], (colour, dashes, thick), place))
    lines += [_node(name, at, name in used) for name, at in place.items()]
    lines += _legend(height, [(strokes[kind], text) for kind, text in legend])
    if classes:
        lines.append(
            f'<text x="{MARGIN - 20}" y="{height - 32:.0f}" fill="#555555" font-size="11">{CLASS_LEGEND}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def _kinds(
    circuit: Circuit, found: Circuit | None
) -> tuple[dict[str, str], Mapping[str, tuple[str, str]], Sequence[tuple[str, str]]]:
    """The kind of every edge to draw, colour and dashes of each kind, and the legend."""
    if found is None:
        strokes = {kind: (colour, "") for kind, colour in COLOURS.items()}
        return {edge: _entrance(edge) for edge in circuit.edges}, strokes, LEGEND
    kinds = {edge: "true" if edge in found.edges else "missed" for edge in circuit.edges}
    return kinds | dict.fromkeys(found.edges - circuit.edges, "false"), JUDGED, JUDGED_LEGEND


def _entrance(edge: str) -> str:
    """Which input of a head an edge enters: q, k or v; empty for an MLP or the logits."""
    return split_reader(split_edge(edge)[1])[1]


def positions(graph: Graph) -> Mapping[str, tuple[float, float]]:
    """Centre of every node: heads side by side, their MLP to the right and above, inputs below, logits on top."""
    left = MARGIN + 44 + WIDTH / 2
    middle = left + COLUMN * (graph.n_heads - 1) / 2
    top = MARGIN + 40 + HEIGHT / 2
    place = {"logits": (middle, top)}
    for layer in range(graph.n_layers):
        y = top + ROW * (graph.n_layers - layer)
        place |= {head_name(layer, head): (left + COLUMN * head, y) for head in range(graph.n_heads)}
        place[mlp_name(layer)] = (left + COLUMN * graph.n_heads, y - 0.42 * ROW)
    bottom = top + ROW * (graph.n_layers + 1)
    return place | {"embed": (middle - COLUMN / 2, bottom), "pos": (middle + COLUMN / 2, bottom)}


def _node(name: str, at: tuple[float, float], used: bool) -> str:
    x, y = at
    fill, stroke, text, thick = ("#fff6d6", "#222222", "#111111", 2) if used else ("#fafafa", "#d5d5d5", "#b5b5b5", 1)
    shape = (
        f'<rect x="{x - WIDTH / 2:.1f}" y="{y - HEIGHT / 2:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="{thick}"/>'
    )
    weight = ' font-weight="bold"' if used else ""
    label = f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" fill="{text}"{weight}>{escape(name)}</text>'
    return shape + label


def _edge(edge: str, kind: str, stroke: tuple[str, str, float], place: Mapping[str, tuple[float, float]]) -> str:
    """A curve from the top of the writer to the bottom of the reader, bent away from what stands between.

    `stroke` is its colour, dashes and width.
    """
    writer, reader = split_edge(edge)
    (x0, y0), (x1, y1) = place[writer], place[node_of(reader)]
    y0, y1 = y0 - HEIGHT / 2, y1 + HEIGHT / 2 + 2
    x1 += {"q": -WIDTH / 3, "k": 0, "v": WIDTH / 3, "": 0}[_entrance(edge)]
    rise = y0 - y1
    bend = 0.62 * COLUMN if abs(x1 - x0) < COLUMN / 2 and rise > ROW else 0
    path = f"M{x0:.1f},{y0:.1f} C{x0 + bend:.1f},{y0 - 0.45 * rise:.1f} {x1 + bend:.1f},{y1 + 0.45 * rise:.1f}"
    colour, dashes, width = stroke
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<path d="{path} {x1:.1f},{y1:.1f}" fill="none" stroke="{colour}"{dashed} stroke-width="{width}" '
        f'stroke-opacity="0.85" marker-end="url(#arrow{kind})"><title>{escape(edge)}</title></path>'
    )


def _arrow(kind: str, colour: str) -> str:
    return (
        f'<marker id="arrow{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z" fill="{colour}"/></marker>'
    )


def _row_label(graph: Graph, layer: int, place: Mapping[str, tuple[float, float]]) -> str:
    y = place[head_name(layer, 0)][1]
    return f'<text x="{MARGIN - 20}" y="{y + 4:.1f}" fill="#888888">layer {layer}</text>'


def _legend(height: float, entries: Sequence[tuple[tuple[str, str], str]]) -> list[str]:
    lines = []
    for i, ((colour, dashes), text) in enumerate(entries):
        x = MARGIN - 20 + LEGEND_STEP * i
        stroke = f'stroke="{colour}" stroke-dasharray="{dashes or "none"}"'
        lines.append(f'<path d="M{x},{height - 18:.0f} h18" {stroke} stroke-width="2.4"/>')
        lines.append(f'<text x="{x + 23}" y="{height - 14:.0f}" fill="#555555" font-size="11">{text}</text>')
    return lines
