"""The page of a pushed subject, for people: what it computes, its true circuit, its certificate, how to use it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from huggingface_hub import ModelCardData

from interpbench.errors import brief
from interpbench.subjects.card import certificate_tables
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import HUB, UNCERTIFIED
from interpbench.table import as_markdown, cell

LICENSES = {HUB: "cc-by-4.0"}
"""Licences of subjects by kind where it is not our own (MIT)."""


def model_card(subject: Subject, repository: str) -> str:
    """Markdown with the hub's metadata at its head."""
    case, card = subject.case, subject.card
    head = ModelCardData(
        license=LICENSES.get(card.get("kind", ""), "mit"),
        library_name="interpbench",
        tags=["mechanistic-interpretability", "circuit-discovery", "interpbench", f"interpbench-case-{case.name}"],
    )
    certificate = card.get("certificate")
    measured = [as_markdown(certificate_tables("certificate", card))] if certificate else [UNCERTIFIED]
    folder = repository.rpartition("/")[2]
    lines = [
        *("---", head.to_yaml(), "---", ""),
        *(f"# A transformer whose circuit is known: case {case.name} of interpbench", "", case.description, ""),
        "For judging techniques that find circuits: this is what they should find.",
        *("", "## Use", "", "```sh", "pip install interpbench interpbench-eap"),
        *(f"hf download {repository} --local-dir {folder}", f"interpbench run eap --case {case.name} --model {folder}"),
        *("```", "", "## The model", ""),
        *_table([("output", case.output), ("vocabulary", len(case.vocab)), *_shape(subject)]),
        *("", "`weights.safetensors` has TransformerLens's names and shapes.", ""),
        *(f"## The true circuit: {len(subject.circuit.edges)} edges (`circuit.json`)", "", "```"),
        *subject.circuit.to_json()["edges"],
        *("```", "", "## Certificate (`card.json`)", "", *measured, ""),
    ]
    if card.get("source"):
        lines += ["## Converted from", "", "```json", json.dumps(card["source"], indent=1), "```", ""]
    if card.get("command"):
        lines += ["## Made by", "", "```sh", brief(str(card["command"])), "```", ""]
    return "\n".join(lines)


def _shape(subject: Subject) -> list[tuple[str, Any]]:
    return list(asdict(subject.model.config).items())


def _table(rows: list[tuple[str, Any]]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {cell(value)} |" for name, value in rows)]
