"""A subject on disk: a folder of weights, true circuit and card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpbench.cases.case import Case
from interpbench.cases.tokens import value_from_json, value_to_json
from interpbench.certificate.edge_classes import EdgeClasses
from interpbench.errors import InterpbenchError, UsageError, brief, first_line, shown
from interpbench.files import (
    check_writable,
    folder_written_whole,
    parse_json,
    read_json,
    refuse_existing,
    write_bytes,
    write_new,
    write_text,
)
from interpbench.plugins import registry
from interpbench.subjects.card import CARD_KEYS, CARD_KINDS, CARD_SCHEMA, HUB
from interpbench.subjects.subject import Subject, misfits, weights_hash

if TYPE_CHECKING:
    from torch import Tensor

    from interpbench.graph.circuit import Circuit
    from interpbench.transformer.config import Config
    from interpbench.transformer.model import Transformer

WEIGHTS, CIRCUIT, CARD = "weights.safetensors", "circuit.json", "card.json"


def save_subject(subject: Subject, folder: str | Path, force: bool = False) -> Path:
    """Write a subject to a new folder, completely or not at all.

    The hashes of weights and circuit, the case and the classes are added to the card. Raises UsageError if the folder
    exists, unless `force` replaces it, ValueError if the card lacks the program's digest.
    """
    from safetensors.torch import save

    folder = Path(folder)
    check_place(folder, force)
    card = {"schema": CARD_SCHEMA, "case": subject.case.name, "kind": subject.kind} | subject.card
    classes = None if subject.classes is None else [value_to_json(value) for value in subject.classes]
    card |= {"classes": classes, "weights_hash": subject.weights_hash, "circuit_hash": subject.circuit.digest}
    if missing := sorted(set(CARD_KEYS) - card.keys()):
        raise ValueError(f"the card of a subject needs {missing[0]!r}")
    weights = _smallest(subject.model.weights)
    with folder_written_whole(folder) as new:
        write_bytes(new / WEIGHTS, save(weights, {"config": json.dumps(asdict(subject.model.config))}))
        write_text(new / CIRCUIT, json.dumps(subject.circuit.to_json(), indent=1) + "\n")
        write_text(new / CARD, json.dumps(card, indent=1, allow_nan=False) + "\n")
    return folder


def check_place(folder: Path, force: bool) -> None:
    """Raise UsageError, before any work, unless a subject can be written there.

    `force` replaces a subject or an empty folder, and nothing else.
    """
    refuse_existing(folder, force)
    check_writable(folder)
    here = {path.name for path in folder.iterdir()} if folder.is_dir() else {""} if folder.exists() else set()
    if here and not here & {WEIGHTS, CIRCUIT, CARD}:
        raise UsageError(f"{folder} is not the folder of a subject, so --force does not replace it")


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Replace the card of a stored subject. Raises InterpbenchError if it cannot be written."""
    write_new(folder / CARD, json.dumps(card, indent=1, allow_nan=False) + "\n", force=True)


def _smallest(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as float16 if that is exact, else as float32."""
    import torch

    whole = {name: weight.detach().cpu().float().contiguous() for name, weight in weights.items()}
    half = {name: weight.half() for name, weight in whole.items()}
    return half if all(torch.equal(half[name].float(), whole[name]) for name in whole) else whole


def read_subject(folder: Path, case: Case | None, kind: str) -> Subject:
    """Read and check a folder. Raises InterpbenchError, which names the file, for damaged or inconsistent files."""
    card = read_card(folder)
    name, classes, stated = (card[key] for key in ("case", "classes", "weights_hash"))
    _check_edge_classes(card, folder / CARD)
    try:
        classes = None if classes is None else tuple(map(value_from_json, classes))
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InterpbenchError(f"{folder / CARD}: `classes` is not a list of answers") from None
    if case is not None and case.name != name:
        raise UsageError(f"{folder} is a subject of case {brief(name)}, not of case {case.name}")
    case = case or registry.load_case(name)
    if card.get("kind") == HUB:
        case = case.published_form
    model = _read_weights(folder / WEIGHTS)
    if weights_hash(model) != stated:
        raise InterpbenchError(f"{folder / WEIGHTS}: the weights are not those of the card (hash {shown(stated)})")
    name, circuit = str(folder) if kind == "custom" else kind, read_circuit(folder)
    if card.get("circuit_hash", circuit.digest) != circuit.digest:  # measured on another circuit
        card = {**card, "certificate": None, "edge_classes": None}
    subject = Subject(case, kind, model, circuit, classes, card, name)
    check_fit(subject, folder)
    return subject


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a stored subject. Raises InterpbenchError if it is damaged or of another version."""
    card = read_json(folder / CARD)
    if not isinstance(card, dict) or any(key not in card for key in CARD_KEYS):
        raise InterpbenchError(f"{folder / CARD}: not the card of a subject")
    if card["schema"] != CARD_SCHEMA:
        raise InterpbenchError(f"{folder / CARD}: schema {shown(card['schema'])}, this version reads {CARD_SCHEMA}")
    for key, kinds in CARD_KINDS.items():
        if not isinstance(card.get(key), kinds):
            raise InterpbenchError(f"{folder / CARD}: {key} is {shown(card.get(key))}")
    return card


def _check_edge_classes(card: Mapping[str, Any], path: Path) -> None:
    for stated in (card.get("edge_classes") or {}).values():
        try:
            if EdgeClasses.from_json(stated).of_edges != stated["classes"]:
                raise ValueError("the classes of edges are not what their counts say")
        except (KeyError, ValueError) as error:
            raise InterpbenchError(f"{path}: {first_line(error)}") from None


def check_fit(subject: Subject, folder: Path) -> None:
    """Raise InterpbenchError unless model, circuit, classes and case belong together."""
    if wrong := misfits(subject):
        raise InterpbenchError(f"{folder}: {wrong[0]}")


def _read_weights(path: Path) -> Transformer:
    """The model of a safetensors file. Names and shapes are checked before anything large is read."""
    import torch
    from safetensors import SafetensorError, safe_open

    from interpbench.transformer.config import Config

    try:
        if not path.is_file():
            raise OSError("no such file")
        with safe_open(path, framework="pt") as file:
            config = Config.from_json(parse_json((file.metadata() or {})["config"]))
            config.check_shapes({name: file.get_slice(name).get_shape() for name in file.keys()})
            stored = {name: file.get_tensor(name) for name in file.keys()}
            whole = {
                name: weight.float() if weight.dtype == torch.float16 else weight for name, weight in stored.items()
            }
            return sound_model(config, whole)
    except KeyError:
        raise InterpbenchError(f"{path}: no model configuration in the metadata") from None
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise InterpbenchError(f"{path}: unreadable: {first_line(error)}") from None


def sound_model(config: Config, weights: Mapping[str, Tensor]) -> Transformer:
    """A model whose weights are float32 and finite. Raises ValueError if they are not, or do not fit the shape."""
    import torch

    from interpbench.transformer.model import Transformer

    model = Transformer(config, weights)
    for name, weight in weights.items():
        if weight.dtype != torch.float32:
            raise ValueError(f"weight {name} is {weight.dtype}, expected float32")
        if not bool(torch.isfinite(weight).all()):
            raise ValueError(f"weight {name} holds NaN or infinity")
    return model


def read_shape_and_circuit(folder: Path) -> tuple[dict[str, Any], Circuit]:
    """Shape and true circuit of a stored subject, without its weights and without PyTorch.

    Raises InterpbenchError if the files are damaged.
    """
    try:
        with (folder / WEIGHTS).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = parse_json(file.read(min(length, (folder / WEIGHTS).stat().st_size)))
        shape = parse_json(header["__metadata__"]["config"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InterpbenchError(f"{folder / WEIGHTS}: unreadable: {first_line(error)}") from None
    return shape, read_circuit(folder)


def read_circuit(folder: Path) -> Circuit:
    """The true circuit of a stored subject. Raises InterpbenchError if its file is damaged."""
    from interpbench.graph.circuit import Circuit

    try:
        return Circuit.from_json(read_json(folder / CIRCUIT))
    except ValueError as error:
        raise InterpbenchError(f"{folder / CIRCUIT}: {error}") from None
