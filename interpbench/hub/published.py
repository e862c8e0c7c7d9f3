"""A published folder (arXiv 2407.14494) as a subject of ours.

Three pickles from the internet: `ll_model.pth` (a PyTorch state dict with TransformerLens's names),
`ll_model_cfg.pkl` (its configuration) and `edges.pkl` (its circuit), beside `meta.json` (training settings). Python's
unpickler sees none of them: the weights go through PyTorch's `weights_only`, the others through our own reader.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interpbench.cases.alignment import Alignment
from interpbench.cases.case import Case
from interpbench.cases.tokens import value_from_json
from interpbench.catalogue.facts import facts_of
from interpbench.errors import InterpbenchError, brief, first_line, shown
from interpbench.files import MEGABYTE, read_bytes, read_json, read_torch
from interpbench.hub.edges import parse_edges
from interpbench.hub.unpickle import read_plain
from interpbench.subjects.folder import check_fit, sound_model
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import HUB
from interpbench.transformer.config import Config

WEIGHTS, CONFIG, EDGES, TRAINING = "ll_model.pth", "ll_model_cfg.pkl", "edges.pkl", "meta.json"
LARGEST = {WEIGHTS: 256 * MEGABYTE, **dict.fromkeys((CONFIG, EDGES, TRAINING), MEGABYTE // 4)}
"""Bytes that a file may have."""
SIZES = "n_layers n_heads d_model d_head d_mlp n_ctx d_vocab d_vocab_out".split()
SHAPE = (*SIZES, "act_fn", "attention_dir", "normalization_type", "eps")
EXPECTED: Mapping[str, tuple[Any, ...]] = {
    "positional_embedding_type": ("standard",),
    **dict.fromkeys("attn_only parallel_attn_mlp gated_mlp use_local_attn post_embedding_ln".split(), (False,)),
    **dict.fromkeys("scale_attn_by_inverse_layer_idx final_rms load_in_4bit".split(), (False,)),
    **dict.fromkeys("attn_scores_soft_cap output_logits_soft_cap num_experts".split(), (None, -1.0)),
}
"""What a configuration that speaks of things our transformer does not have may say of them."""
BUFFERS = re.compile(r"blocks\.\d+\.attn\.(mask|IGNORE)")
"""What TransformerLens 1 stores beside the weights."""


def read_published(folder: Path, case: Case, source: Mapping[str, Any]) -> Subject:
    """The subject of a published folder, with the published circuit as its true one; nothing is measured.

    The subject's case is the published form of the case. `source` goes onto the card, with the hashes of the files. Of
    a model that knows more words than the case, those of the case are kept. Raises InterpbenchError, naming the file,
    for what is damaged, hostile or does not fit.
    """
    case = case.published_form
    known = facts_of(case)
    with _blamed(folder / CONFIG):
        config = _config(read_plain(_bytes(folder / CONFIG)))
    with _blamed(folder / WEIGHTS):
        model = sound_model(config, _weights(folder / WEIGHTS, config))
    with _blamed(folder / EDGES):
        circuit = parse_edges(read_plain(_bytes(folder / EDGES)), config.graph, Alignment(known["alignment"]))
    if case.published_ids and len(case.tokens) < config.d_vocab == config.d_vocab_out:
        model = sound_model(*_fewer_words(config, model.weights, case.published_ids))
    training = read_json(folder / TRAINING, LARGEST[TRAINING]) if (folder / TRAINING).exists() else None
    read = [name for name in LARGEST if (folder / name).exists()]
    card = {
        "kind": HUB,
        "program_digest": known["program_digest"],
        "source": {**source, "sha256": {name: hashlib.sha256(_bytes(folder / name)).hexdigest() for name in read}},
        "training": training,
        "certificate": None,
    }
    classes = known["classes"]
    subject = Subject(case, HUB, model, circuit, classes and tuple(map(value_from_json, classes)), card)
    check_fit(subject, folder)
    return subject


def _bytes(path: Path) -> bytes:
    return read_bytes(path, LARGEST[path.name])


@contextmanager
def _blamed(path: Path) -> Iterator[None]:
    """Whatever is wrong inside is the fault of this file."""
    try:
        yield
    except ValueError as error:
        raise InterpbenchError(f"{path}: {first_line(error)}") from None


def _config(fields: Any) -> Config:
    """Our configuration from the fields of a HookedTransformerConfig. Raises ValueError for what we do not have.

    `attn_scale` is the stored one: a published subject keeps that of its reference.
    """
    if not isinstance(fields, dict):
        raise ValueError(f"{shown(fields)} where a configuration belongs")
    expected = {**EXPECTED, "n_key_value_heads": (None, fields.get("n_heads"))}
    for key, allowed in expected.items():
        if fields.get(key, allowed[0]) not in allowed:
            raise ValueError(f"{key} is {shown(fields[key])}, which our transformer does not have")
    scale = fields.get("attn_scale", -1.0) if fields.get("use_attn_scale", True) else 1.0
    shape = {key: value for key, value in fields.items() if key in SHAPE}
    return Config.from_json(shape | {"attn_scale": 0.0 if scale == -1.0 else scale})


def _weights(path: Path, config: Config) -> dict[str, Tensor]:
    """The weights of a state dict, checked for names and shapes. Raises ValueError for anything else."""
    found = {name: value for name, value in _state_dict(path).items() if not BUFFERS.fullmatch(name)}
    for name, value in found.items():
        if type(value) is not Tensor or value.layout != torch.strided or value.device.type != "cpu":
            raise ValueError(f"{brief(name)} is {shown(value)}, expected an ordinary tensor")
    config.check_shapes({name: value.shape for name, value in found.items()})
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in found.items()}


def _state_dict(path: Path) -> dict[str, Any]:
    state = read_torch(path, LARGEST[path.name])
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise ValueError(f"{shown(state)} where named weights belong")
    return state


def _fewer_words(
    config: Config, weights: Mapping[str, Tensor], ids: tuple[int, ...]
) -> tuple[Config, dict[str, Tensor]]:
    """The same model for some of its words: nothing but the ends of the network knows how many there are."""
    words = torch.tensor(ids)
    fewer = {"embed.W_E": weights["embed.W_E"][words]}
    fewer |= {"unembed.W_U": weights["unembed.W_U"][:, words], "unembed.b_U": weights["unembed.b_U"][words]}
    return replace(config, d_vocab=len(ids), d_vocab_out=len(ids)), {**weights, **fewer}
