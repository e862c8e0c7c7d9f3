"""Subjects: trained transformers whose true circuit is known. Save them, load them (`stored.py`: where they lie)."""

from __future__ import annotations

import hashlib
import importlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from interpbench import plugins
from interpbench.case import Case, Token, value_from_json, value_to_json
from interpbench.errors import InterpbenchError, MissingExtra, UsageError, brief, first_line, shown, unknown
from interpbench.files import parse_json, read_json
from interpbench.stored import CARD, CIRCUIT, COMPILED, HUB, WEIGHTS, models, read_circuit, stored_folder

if TYPE_CHECKING:
    from torch import Tensor

    from interpbench.architecture import Config
    from interpbench.graph import Circuit
    from interpbench.transformer import Transformer

CARD_SCHEMA = 1
CARD_KEYS = ("schema", "case", "classes", "weights_hash", "program_digest")
CARD_KINDS: dict[str, Any] = {
    **dict.fromkeys(("case", "weights_hash", "program_digest"), str),
    **dict.fromkeys(("certificate", "trainer"), dict | None),
    "classes": list | None,
}


@dataclass(frozen=True, eq=False)
class Subject:
    """A transformer that solves a case, and its true circuit at `edges` granularity.

    `kind` is the name it was asked for by (`siit`, `tracr`, ...; `custom` for a folder), `classes` what the logits
    stand for (None: the output is a number), `card` plain JSON: how it was made and what was measured on it.
    """

    case: Case
    kind: str
    model: Transformer
    circuit: Circuit
    classes: tuple[Any, ...] | None
    card: dict[str, Any]

    @cached_property
    def weights_hash(self) -> str:
        """Hash of names, shapes and float32 values of the weights; 16 hexadecimal digits."""
        return weights_hash(self.model)

    def predict(self, inputs: Sequence[Sequence[Token]]) -> list[list[Any]]:
        """Decoded answers, one list an input and one value a token, in the form of `Case.expected`.

        Inputs may differ in length. Raises ValueError for tokens outside the vocabulary or an input too long or empty.
        """
        import torch

        answers: list[list[Any]] = [[] for _ in inputs]
        for length in sorted({len(tokens) for tokens in inputs}):
            rows = [i for i, tokens in enumerate(inputs) if len(tokens) == length]
            tokens = torch.from_numpy(self.case.encode([inputs[i] for i in rows]))
            with torch.no_grad():
                logits = self.model(tokens.to(self.model.device))[:, 1:]
            for i, row in zip(rows, self._decode(logits), strict=True):
                answers[i] = row if self.case.scored == "all" else [None] * (length - 1) + row[-1:]
        return answers

    def to_hooked(self) -> Any:
        """The model with TransformerLens's hooks on everything, each head's inputs too: an `interpbench.lens.Hooked`.

        Raises MissingExtra without TransformerLens.
        """
        return _lens().Hooked(self.model)

    def to_bridge(self) -> Any:
        """The model as a TransformerBridge of TransformerLens 4; see `interpbench.lens`.

        Raises MissingExtra without TransformerLens, UsageError if it is older.
        """
        return _lens().to_bridge(self.model)

    def _decode(self, logits: Tensor) -> list[list[Any]]:
        if self.classes is None:
            return logits[..., 0].tolist()
        classes = self.classes
        return [[classes[i] for i in row] for row in logits.argmax(-1).tolist()]


def _lens() -> ModuleType:
    try:
        return importlib.import_module("interpbench.lens")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "transformer_lens":
            raise
        raise MissingExtra("lens", "TransformerLens's models") from None


def from_transformer_lens(model: Any, case: str | Case, circuit: Circuit | None = None) -> Subject:
    """A subject of a case from a model of TransformerLens (bridge, HookedTransformer, `Hooked`); weights are copied.

    `circuit` is its true circuit at `edges` granularity, by default the one that subjects of the case are trained to
    have. Raises UsageError for a model that computes what ours cannot or does not fit the case, MissingExtra without
    TransformerLens or, for a compiled case, Tracr.
    """
    case = plugins.load_case(case) if isinstance(case, str) else case
    transformer, reference = _lens().from_lens(model), case.reference()
    try:
        circuit = circuit or reference.circuit(transformer.graph)
    except ValueError as error:
        raise UsageError(f"the true circuit of case {case.name} is not in a model of this shape: {error}") from None
    card = {"program_digest": reference.digest, "weights_hash": weights_hash(transformer)}
    subject = Subject(case, "custom", transformer, circuit, reference.classes, card)
    for wrong in _misfits(subject):
        raise UsageError(f"the model does not fit case {case.name}: {wrong}")
    return subject


def weights_hash(model: Transformer) -> str:
    """Hash of names, shapes and float32 values of the weights; 16 hexadecimal digits."""
    sha = hashlib.sha256()
    for name, weight in sorted(model.weights.items()):
        sha.update(f"{name}{tuple(weight.shape)}".encode())
        sha.update(weight.detach().cpu().float().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]


def load_subject(case: str | Case | None, model: str | Path = "siit") -> Subject:
    """The subject `model` of a case: a bundled kind, `hub` for the published one, `tracr` for the compiled reference,
    or a folder.

    For a folder the case may be None: its card names it. Raises UsageError for a model that does not exist or does
    not belong to the case, InterpbenchError for a damaged folder, MissingExtra where the reference cannot be compiled.
    """
    if isinstance(case, str):
        case = plugins.load_case(case)
    if case is not None and str(model) in models(case):
        return _compiled(case) if str(model) == COMPILED else _read(stored_folder(case, str(model)), case, str(model))
    folder = Path(model)
    if not folder.is_dir():
        raise UsageError(_missing(case, str(model)))
    return _read(folder, case, "custom")


def _missing(case: Case | None, model: str) -> str:
    if case is None:
        return f"no folder {model}"
    if model == HUB:
        return f"the published subject of case {case.name} is not here; `interpbench hub pull {case.name}` fetches it"
    known = models(case)
    there = f"there are: {', '.join(known)}" if known else "none is bundled"
    if model in plugins.load().trainers:
        make = f"interpbench train {model} --case {case.name} --out FOLDER"
        return f"case {case.name} has no bundled subject '{model}' ({there}); `{make}` makes one for --model FOLDER"
    return f"case {case.name}: {unknown('model or folder', model, known)}; {there}"


def _compiled(case: Case) -> Subject:
    reference: Any = case.reference()
    card = {"schema": CARD_SCHEMA, "case": case.name, "kind": COMPILED, "program_digest": reference.digest}
    card |= {"classes": reference.classes, "weights_hash": weights_hash(reference.model)}
    itself = replace(reference, alignment={})  # its components stand where they are, not where a subject has them
    case = replace(case, reference=lambda: itself)
    return Subject(case, COMPILED, reference.model, reference.true_circuit, reference.classes, card)


def save_subject(subject: Subject, folder: str | Path, force: bool = False) -> Path:
    """Write a subject to a new folder, which appears whole or not at all.

    The card gets the weights' hash and what else the files need to agree. Raises UsageError if the folder exists,
    unless `force` replaces it, ValueError if the card lacks the
    program's digest.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    if folder.exists() and not force:
        raise UsageError(f"{folder} exists; --force replaces it")
    card = {"schema": CARD_SCHEMA, "case": subject.case.name, "kind": subject.kind} | subject.card
    classes = None if subject.classes is None else [value_to_json(value) for value in subject.classes]
    card |= {"classes": classes, "weights_hash": subject.weights_hash}
    for key in sorted(set(CARD_KEYS) - card.keys()):
        raise ValueError(f"the card of a subject needs {key!r}")
    weights = _smallest(subject.model.weights)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        save_file(weights, new / WEIGHTS, metadata={"config": json.dumps(asdict(subject.model.config))})
        (new / CIRCUIT).write_text(json.dumps(subject.circuit.to_json(), indent=1) + "\n")
        (new / CARD).write_text(json.dumps(card, indent=1, allow_nan=False) + "\n")
        if folder.is_dir():
            folder.rename(old)
        elif folder.exists():
            folder.unlink()
        new.rename(folder)
    return folder


def _smallest(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as float16 where that loses nothing, else as float32."""
    import torch

    whole = {name: weight.detach().cpu().float().contiguous() for name, weight in weights.items()}
    half = {name: weight.half() for name, weight in whole.items()}
    return half if all(torch.equal(half[name].float(), whole[name]) for name in whole) else whole


def _read(folder: Path, case: Case | None, kind: str) -> Subject:
    """Read and check a folder. Every damage is an InterpbenchError that names the file."""
    card = read_json(folder / CARD)
    try:
        schema, name, classes, stated, _ = (card[key] for key in CARD_KEYS)
    except (KeyError, TypeError):
        raise InterpbenchError(f"{folder / CARD}: not the card of a subject") from None
    if schema != CARD_SCHEMA:
        raise InterpbenchError(f"{folder / CARD}: schema {shown(schema)}, this version reads {CARD_SCHEMA}")
    for key, kinds in CARD_KINDS.items():
        if not isinstance(card.get(key), kinds):
            raise InterpbenchError(f"{folder / CARD}: {key} is {shown(card.get(key))}")
    try:
        classes = None if classes is None else tuple(map(value_from_json, classes))
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InterpbenchError(f"{folder / CARD}: the classes are no answers") from None
    if case is not None and case.name != name:
        raise UsageError(f"{folder} is a subject of case {brief(name)}, not of case {case.name}")
    case = case or plugins.load_case(name)
    model = _read_weights(folder / WEIGHTS)
    if weights_hash(model) != stated:
        raise InterpbenchError(f"{folder / WEIGHTS}: the weights are not those of the card (hash {shown(stated)})")
    subject = Subject(case, kind, model, read_circuit(folder), classes, card)
    check_fit(subject, folder)
    return subject


def check_fit(subject: Subject, folder: Path) -> None:
    """Raise InterpbenchError unless model, circuit, classes and case belong together."""
    for wrong in _misfits(subject):
        raise InterpbenchError(f"{folder}: {wrong}")


def _misfits(subject: Subject) -> list[str]:
    """In what way model, circuit, classes and case do not belong together."""
    case, config = subject.case, subject.model.config
    classes = 1 if subject.classes is None else len(subject.classes)
    wrong = {
        f"a circuit of {subject.circuit.graph}, but a model of {config.graph}": subject.circuit.graph != config.graph,
        f"a circuit at {subject.circuit.granularity!r}, expected 'edges'": subject.circuit.granularity != "edges",
        f"{config.d_vocab} tokens; the case has {len(case.tokens)}": config.d_vocab != len(case.tokens),
        f"{config.n_ctx} positions; the case needs {case.n_ctx}": config.n_ctx < case.n_ctx,
        f"{config.d_vocab_out} outputs; the card names {classes}": config.d_vocab_out != classes,
        f"classes do not fit {case.output} output": (subject.classes is None) != (case.output == "numerical"),
    }
    return [what for what, holds in wrong.items() if holds]


def _read_weights(path: Path) -> Transformer:
    """The model of a safetensors file. Names and shapes are checked before anything large is read."""
    import torch
    from safetensors import SafetensorError, safe_open

    from interpbench.architecture import Config

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

    from interpbench.transformer import Transformer

    model = Transformer(config, weights)
    for name, weight in weights.items():
        if weight.dtype != torch.float32:
            raise ValueError(f"weight {name} is {weight.dtype}, expected float32")
        if not bool(torch.isfinite(weight).all()):
            raise ValueError(f"weight {name} holds NaN or infinity")
    return model
