"""Subjects: trained transformers whose true circuit is known (saved by `folder.py`, found by name in `zoo.py`)."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

from interpbench.cases.case import Case
from interpbench.cases.tokens import Token
from interpbench.errors import MissingExtra, UsageError
from interpbench.plugins import registry
from interpbench.torch_state import clean_state

if TYPE_CHECKING:
    from torch import Tensor

    from interpbench.graph.circuit import Circuit
    from interpbench.transformer.model import Transformer


@dataclass(frozen=True, eq=False)
class Subject:
    """A transformer that solves a case, and its true circuit at `edges` granularity.

    `kind` is the name that it was loaded by (`siit`, `tracr`, ...; `custom` for a folder), `classes` the answers that
    the logits stand for (None: the output is a number), `card` plain JSON: its making and its measurements. `name`
    tells people which one it is: a folder as they typed it, else the kind. Raises UsageError for a model whose weights
    are not float32.
    """

    case: Case
    kind: str
    model: Transformer
    circuit: Circuit
    classes: tuple[Any, ...] | None
    card: dict[str, Any]
    name: str = ""

    def __post_init__(self) -> None:
        self.model.check_precision("float32")
        object.__setattr__(self, "name", self.name or self.kind)

    def __repr__(self) -> str:
        what = f"{len(self.circuit.edges)} true edges, weights {self.weights_hash}"
        return f"Subject(case {self.case.name}, {self.name}, {self.model.graph}: {what})"

    @cached_property
    def truth_hash(self) -> str:
        """Hash of the true circuit and of the classes of its edges on the card; 16 hexadecimal digits."""
        stated = json.dumps([self.circuit.to_json(), self.card.get("edge_classes")], sort_keys=True)
        return hashlib.sha256(stated.encode()).hexdigest()[:16]

    @cached_property
    def weights_hash(self) -> str:
        """Hash of names, shapes and float32 values of the weights; 16 hexadecimal digits."""
        return weights_hash(self.model)

    @clean_state()
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
        """The model with all hooks of TransformerLens, also on each head's inputs: `transformer.lens.Hooked`.

        Raises MissingExtra without TransformerLens.
        """
        return _lens().Hooked(self.model)

    def to_bridge(self) -> Any:
        """The model as a TransformerBridge of TransformerLens 4; see `interpbench.transformer.lens`.

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
        return importlib.import_module("interpbench.transformer.lens")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "transformer_lens":
            raise
        raise MissingExtra("lens", "TransformerLens's models") from None


@clean_state()
def from_transformer_lens(model: Any, case: str | Case, circuit: Circuit | None = None) -> Subject:
    """A subject of a case from a model of TransformerLens (bridge, HookedTransformer, `Hooked`); weights are copied.

    `circuit` is its true circuit at `edges` granularity, by default the one that subjects of the case are trained to
    have. Raises UsageError for a model that computes what ours cannot or does not fit the case, MissingExtra without
    TransformerLens or, for a compiled case, Tracr.
    """
    case = registry.load_case(case) if isinstance(case, str) else case
    transformer, reference = _lens().from_lens(model), case.reference()
    try:
        circuit = circuit or reference.circuit(transformer.graph)
    except ValueError as error:
        raise UsageError(f"the true circuit of case {case.name} is not in a model of this shape: {error}") from None
    card = {"program_digest": reference.digest, "weights_hash": weights_hash(transformer)}
    subject = Subject(case, "custom", transformer, circuit, reference.classes, card)
    if wrong := misfits(subject):
        raise UsageError(f"the model does not fit case {case.name}: {wrong[0]}")
    return subject


def weights_hash(model: Transformer) -> str:
    """Hash of names, shapes and float32 values of the weights; 16 hexadecimal digits."""
    sha = hashlib.sha256()
    for name, weight in sorted(model.weights.items()):
        sha.update(f"{name}{tuple(weight.shape)}".encode())
        sha.update(weight.detach().cpu().float().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]


def misfits(subject: Subject) -> list[str]:
    """The ways in which model, circuit, classes and case do not fit together, one line each."""
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
