"""Compiled references, kept on disk: a program is compiled once.

Each program has a file with its non-zero weights. The file's name is a hash of everything that determines the result:
the program's fingerprint, the compiler's source and Tracr's version.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from interpbench.cases.alignment import Alignment
from interpbench.cases.case import Case
from interpbench.cases.rasp import compiler as rasp
from interpbench.cases.rasp.compiler import compile_program, refused_in_one_line, subject_config
from interpbench.cases.rasp.fingerprint import fingerprint
from interpbench.cases.rasp.reference import RaspReference
from interpbench.cases.tokens import value_from_json, value_to_json
from interpbench.files import cache_folder, parse_json, write_bytes
from interpbench.torch_state import clean_state
from interpbench.transformer.config import Config
from interpbench.transformer.model import Transformer

if TYPE_CHECKING:
    from tracr.rasp.rasp import SOp


@clean_state()
def compiled(program: SOp, case: Case, causal: bool, subject: Mapping[str, int], alignment: Alignment) -> RaspReference:
    """As `compile_program`, from the cache if possible. A file that cannot be read is compiled anew."""
    with refused_in_one_line(case):
        key = fingerprint(program, case.vocab, case.max_length)
    if key is None:
        return compile_program(program, case, causal, subject, alignment)
    source = Path(rasp.__file__).read_bytes()
    facts = repr((key, causal, case.output, case.partial, version("tracr-pypi"))).encode()
    path = cache_folder() / f"{hashlib.sha256(source + facts).hexdigest()[:32]}.safetensors"
    found = _read(path)
    if found is None:
        reference = compile_program(program, case, causal, subject, alignment)
        _write(path, reference)
        return reference
    shape = subject_config(found["model"].config, subject)
    return RaspReference(program=program, subject_config=shape, alignment=alignment, **found)


def _write(path: Path, reference: RaspReference) -> None:
    """Write the file whole or not at all; a folder that cannot be written to only means compiling again."""
    weights = torch.cat([weight.flatten() for weight in reference.model.weights.values()])
    index = weights.nonzero().squeeze(-1)
    tensors = {"index": index.int(), "value": weights[index]}
    facts = {
        "config": asdict(reference.model.config),
        "edges": sorted(reference.edges),
        "components": reference.components,
        "classes": None if reference.classes is None else [value_to_json(value) for value in reference.classes],
        "partial": reference.partial,
        "directions": reference.directions,
    }
    with suppress(OSError):
        write_bytes(path, save(tensors, {"interpbench": json.dumps(facts)}))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with safe_open(path, "pt") as file:
            facts = parse_json(file.metadata()["interpbench"])
            index, value = file.get_tensor("index"), file.get_tensor("value")
        config = Config.from_json(facts["config"])
        sizes = {name: math.prod(shape) for name, shape in config.weight_shapes().items()}
        flat = torch.zeros(sum(sizes.values())).index_put_((index.long(),), value)
        parts = zip(config.weight_shapes().items(), flat.split(list(sizes.values())), strict=True)
        model = Transformer(config, {name: part.view(shape) for (name, shape), part in parts})
        classes = facts["classes"]
        return {
            "model": model,
            "edges": frozenset(facts["edges"]),
            "components": tuple(facts["components"]),
            "classes": None if classes is None else tuple(value_from_json(value) for value in classes),
            "partial": facts["partial"],
            "directions": tuple(facts["directions"]),
        }
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError):
        return None
