"""Stored subjects by name: which there are, where, and what can be known of them without weights or PyTorch.

A subject on disk is a folder of three files: `weights.safetensors` (TransformerLens's names; the model's `Config` in
the metadata), `circuit.json` (its true circuit) and `card.json` (how it was made and what was measured on it). The
bundled ones lie in `zoo/<case>/<kind>/`, published ones (`interpbench hub pull`) in the cache.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpbench.cache import cache_folder
from interpbench.case import Case
from interpbench.errors import InterpbenchError, first_line
from interpbench.files import parse_json, read_json

if TYPE_CHECKING:
    from interpbench.graph import Circuit

ZOO = Path(__file__).parent / "zoo"
WEIGHTS, CIRCUIT, CARD = "weights.safetensors", "circuit.json", "card.json"
COMPILED = "tracr"
"""The model that is a case's compiled reference itself."""
HUB = "hub"
"""The published subject, once `interpbench hub pull` has fetched and converted it."""
UNCERTIFIED = "Published subjects are not certified; `interpbench verify CASE --model MODEL` measures what holds."


def models(case: Case) -> list[str]:
    """Names that `load_subject` knows for a case: the bundled kinds, the published subject if it has been pulled, and
    the compiled reference if it has one.
    """
    bundled = sorted(path.parent.name for path in (ZOO / case.name).glob(f"*/{WEIGHTS}"))
    pulled = [HUB] if (stored_folder(case, HUB) / WEIGHTS).is_file() else []
    return sorted(bundled, key=lambda kind: kind != "siit") + pulled + ([COMPILED] if case.compiled else [])


def stored_folder(case: Case, model: str) -> Path:
    """Where the subject of that name is, or would be."""
    return cache_folder() / HUB / case.name if model == HUB else ZOO / case.name / model


_bundled_card = functools.cache(read_json)


def stored_card(case: Case, model: str) -> dict[str, Any] | None:
    """The card of a bundled or pulled subject, None if there is none or it has no card (the compiled reference)."""
    path = stored_folder(case, model) / CARD
    if not path.exists():
        return None
    return read_json(path) if model == HUB else _bundled_card(path)


def stored_parts(case: Case, model: str) -> tuple[dict[str, Any], Circuit]:
    """Shape and true circuit of a bundled or pulled subject, without its weights and without PyTorch.

    Raises InterpbenchError if the files are damaged.
    """
    folder = stored_folder(case, model)
    try:
        with (folder / WEIGHTS).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = parse_json(file.read(min(length, (folder / WEIGHTS).stat().st_size)))
        shape = parse_json(header["__metadata__"]["config"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InterpbenchError(f"{folder / WEIGHTS}: unreadable: {first_line(error)}") from None
    return shape, read_circuit(folder)


def is_certified(case: Case) -> bool:
    """Whether the bundled SIIT subject of a case is certified, by its card."""
    card = stored_card(case, "siit") or {}
    return bool((card.get("certificate") or {}).get("certified"))


def read_circuit(folder: Path) -> Circuit:
    """The true circuit of a stored subject. Raises InterpbenchError if its file is damaged."""
    from interpbench.graph import Circuit

    try:
        return Circuit.from_json(read_json(folder / CIRCUIT))
    except ValueError as error:
        raise InterpbenchError(f"{folder / CIRCUIT}: {error}") from None
