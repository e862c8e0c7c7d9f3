"""The drawing of a circuit."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree

from interpbench.graph import Circuit, Graph
from interpbench.graph.drawing import HEIGHT, WIDTH, circuit_svg, positions

SVG = "{http://www.w3.org/2000/svg}"
GRAPH = Graph(6, 4)
CIRCUIT = Circuit(GRAPH, frozenset(["embed->m0", "m0->a4.h1<k>", "a2.h1->a4.h1<v>", "a4.h1->logits"]))


def test_every_node_and_only_the_circuits_edges_are_drawn() -> None:
    root = ElementTree.fromstring(circuit_svg(CIRCUIT, "a <title>"))
    labels = {text.text: text.get("font-weight") for text in root.iter(f"{SVG}text")}
    assert {*GRAPH.writers, "logits"} <= labels.keys()
    bold = {label for label, weight in labels.items() if weight == "bold"}
    assert bold == {"embed", "m0", "a2.h1", "a4.h1", "logits"}
    edges = {path.findtext(f"{SVG}title") for path in root.iter(f"{SVG}path")} - {None}
    assert edges == CIRCUIT.edges
    assert root.findtext(f"{SVG}title") == "a <title>"


def test_rows_are_layers_and_nothing_overlaps() -> None:
    place = positions(GRAPH)
    for layer in range(6):
        assert len({place[f"a{layer}.h{head}"][1] for head in range(4)}) == 1
    up = ["embed", "a0.h0", "m0", "a1.h0", "m1", "a5.h3", "m5", "logits"]
    heights = [place[name][1] for name in up]
    assert heights == sorted(heights, reverse=True)
    for (x, y), (u, v) in itertools.combinations(place.values(), 2):
        assert abs(x - u) > WIDTH or abs(y - v) > HEIGHT


def test_everything_is_inside_the_picture() -> None:
    root = ElementTree.fromstring(circuit_svg(CIRCUIT))
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for x, y in positions(GRAPH).values():
        assert WIDTH / 2 < x < width - WIDTH / 2 and HEIGHT / 2 < y < height - HEIGHT / 2


def test_legend_and_title_fit_beside_few_heads() -> None:
    small = Circuit(Graph(1, 1), frozenset(["embed->m0", "m0->logits"]))
    for title in ("", "a title that is longer than the legend below the picture, which is rare"):
        root = ElementTree.fromstring(circuit_svg(small, title))
        for text in root.iter(f"{SVG}text"):
            if text.get("text-anchor") is None:
                size = float(text.get("font-size", 12))
                assert float(text.get("x", 0)) + 0.5 * size * len(text.text or "") < float(root.get("width", 0))


def test_classes_of_edges_are_drawn_apart() -> None:
    kinds = ("core", "alternative", "dispensable", "invisible")
    classes = dict(zip(sorted(CIRCUIT.edges), kinds, strict=True))
    root = ElementTree.fromstring(circuit_svg(CIRCUIT, classes=classes))
    looks = {path.findtext(f"{SVG}title"): path for path in root.iter(f"{SVG}path")}
    width = {classes[edge]: float(looks[edge].get("stroke-width", 0)) for edge in classes}
    assert width["core"] > width["alternative"] > width["dispensable"] == width["invisible"]
    dashed = {classes[edge] for edge in classes if looks[edge].get("stroke-dasharray")}
    assert dashed == {"alternative"}
    assert any("bold: core" in (text.text or "") for text in root.iter(f"{SVG}text"))
