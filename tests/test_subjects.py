"""Subjects on disk: what is written comes back, damage is told in one line, nothing is half written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import interpbench as ib
from interpbench.errors import InterpbenchError, UsageError
from interpbench.subjects import folder as folders
from interpbench.subjects import subject as subjects
from interpbench.subjects import zoo


@pytest.fixture
def folder(subject_folder: Path, tmp_path: Path) -> Path:
    """A copy of a subject that a test may damage."""
    return shutil.copytree(subject_folder, tmp_path / "subject")


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], None]) -> None:
    """Change weights and configuration, with a card that fits the new weights."""
    path = folder / folders.WEIGHTS
    weights, config = load_file(path), asdict(ib.load_subject("3", folder).model.config)
    change(weights, config)
    save_file(weights, path, metadata={"config": json.dumps(config)})


def test_a_subject_comes_back(subject_folder: Path) -> None:
    made, read = ib.load_subject("3", "tracr"), ib.load_subject(None, subject_folder)
    assert (read.case.name, read.kind, read.card["kind"]) == ("3", "custom", "tracr")
    assert read.circuit == made.circuit and read.classes == made.classes
    assert read.model.config == made.model.config
    assert read.weights_hash == made.weights_hash == read.card["weights_hash"]
    assert all(torch.equal(read.model.weights[name], weight) for name, weight in made.model.weights.items())


def test_weights_have_transformer_lens_names(subject_folder: Path) -> None:
    weights = load_file(subject_folder / folders.WEIGHTS)
    config = ib.load_subject("3", subject_folder).model.config
    assert tuple(weights["blocks.0.attn.W_Q"].shape) == (config.n_heads, config.d_model, config.d_head)


def test_weights_that_half_precision_holds_take_half_the_room(tmp_path: Path) -> None:
    subject = ib.load_subject("3", "tracr")
    model = subject.model.to(dtype=torch.float16).to(dtype=torch.float32)
    half = replace(subject, model=model)
    path = ib.save_subject(half, tmp_path / "half") / folders.WEIGHTS
    assert {weight.dtype for weight in load_file(path).values()} == {torch.float16}
    assert ib.load_subject("3", tmp_path / "half").weights_hash == half.weights_hash
    one = model.weights | {"unembed.b_U": model.weights["unembed.b_U"] + 1e-6}
    path = ib.save_subject(replace(subject, model=replace(model, weights=one)), tmp_path / "whole") / folders.WEIGHTS
    assert {weight.dtype for weight in load_file(path).values()} == {torch.float32}


def test_the_hash_sees_names_shapes_and_values() -> None:
    subject = ib.load_subject("3", "tracr")
    weights = dict(subject.model.weights)
    changed = weights | {"unembed.b_U": weights["unembed.b_U"] + 1e-6}
    assert subjects.weights_hash(replace(subject.model, weights=changed)) != subject.weights_hash
    assert len(subject.weights_hash) == 16


def test_predictions_have_the_form_of_expected() -> None:
    subject = ib.load_subject("3", "tracr")
    inputs = [["x", "a", "x", "b"], ["a"], ["b", "x"], ["x", "x", "x", "a"]]
    for tokens, answer in zip(inputs, subject.predict(inputs), strict=True):
        assert np.allclose(answer, subject.case.expected(tokens), atol=1e-5) and type(answer[0]) is float
    classes = ib.load_subject("18", "tracr")
    tokens = ["a", "b", "b", "b", "a", "c"]
    assert classes.predict([tokens]) == [classes.case.expected(tokens)]
    assert subject.predict([]) == []


def test_predictions_at_unscored_positions_are_none() -> None:
    subject = ib.load_subject("3", "tracr")
    last = replace(subject, case=replace(subject.case, scored="last"))
    assert last.predict([["x", "x"], ["a"]]) == [[None, pytest.approx(1)], [pytest.approx(0)]]


@pytest.mark.parametrize("tokens", [["q"], ["x"] * 5, []])
def test_bad_inputs_are_refused(tokens: list[str]) -> None:
    with pytest.raises(ValueError, match="case 3"):
        ib.load_subject("3", "tracr").predict([tokens])


def test_nothing_is_overwritten_without_force(folder: Path) -> None:
    subject = ib.load_subject("3", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="--force"):
        ib.save_subject(subject, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    ib.save_subject(replace(subject, card=subject.card | {"note": "new"}), folder, force=True)
    assert ib.load_subject("3", folder).card["note"] == "new"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = ib.load_subject("3", "tracr")
    with pytest.raises(ValueError, match="JSON"):
        ib.save_subject(replace(subject, card=subject.card | {"loss": float("nan")}), tmp_path / "new" / "subject")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_card_without_the_program_is_refused(tmp_path: Path) -> None:
    subject = ib.load_subject("3", "tracr")
    card = {key: value for key, value in subject.card.items() if key != "program_digest"}
    with pytest.raises(ValueError, match="program_digest"):
        ib.save_subject(replace(subject, card=card), tmp_path / "subject")


def damaged(folder: Path) -> str:
    with pytest.raises(InterpbenchError) as error:
        ib.load_subject("3", folder)
    assert not isinstance(error.value, UsageError) and "\n" not in str(error.value) and str(folder) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", [folders.WEIGHTS, folders.CARD, folders.CIRCUIT])
def test_missing_truncated_and_garbled_files(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"\xff\xfe garbage", b"[]"):
        (folder / name).write_bytes(content)
        assert name in damaged(folder)
    (folder / name).unlink()
    assert name in damaged(folder)
    (folder / name).mkdir()
    assert name in damaged(folder)


def test_nan_and_infinity_in_weights(folder: Path) -> None:
    for value in (float("nan"), float("inf")):
        rewrite(folder, lambda weights, _, value=value: weights["embed.W_E"].view(-1)[0:1].fill_(value))
        assert "weight embed.W_E holds NaN or infinity" in damaged(folder)
        rewrite_back(folder)


def rewrite_back(folder: Path) -> None:
    subject = ib.load_subject("3", "tracr")
    ib.save_subject(subject, folder, force=True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda w, c: w.update({"unembed.b_U": w["unembed.b_U"].double()}), "float64, expected float32"),
        (lambda w, c: w.update({"unembed.b_U": w["unembed.b_U"] + 1}), "not those of the card"),
        (lambda w, c: w.update({"unembed.b_U": torch.zeros(3)}), "shape (3,), expected (1,)"),
        (lambda w, c: w.pop("unembed.b_U"), "weight unembed.b_U is missing"),
        (lambda w, c: w.update({"extra": torch.zeros(3)}), "weight extra is not one"),
        (lambda w, c: c.update(act_fn="swish"), "act_fn is 'swish'"),
        (lambda w, c: c.update(colour="red"), "colour"),
        (lambda w, c: c.pop("n_heads"), "n_heads"),
        (lambda w, c: c.update(n_heads="two"), "unreadable"),
    ],
)
def test_weights_that_do_not_fit(folder: Path, change: Any, why: str) -> None:
    rewrite(folder, change)
    assert why in damaged(folder)


def test_weights_without_configuration(folder: Path) -> None:
    save_file(load_file(folder / folders.WEIGHTS), folder / folders.WEIGHTS)
    assert "no model configuration" in damaged(folder)


@pytest.mark.parametrize(
    ("name", "key", "value", "why"),
    [
        (folders.CARD, "schema", 99, "schema 99, this version reads 1"),
        (folders.CARD, "weights_hash", "0" * 16, "not those of the card"),
        (folders.CARD, "classes", ["a", "b"], "the card names 2"),
        (folders.CARD, "classes", ["a"], "classes do not fit numerical output"),
        (folders.CIRCUIT, "edges", ["embed->m9"], "no edge 'embed->m9'"),
        (folders.CIRCUIT, "edges", 3, "not a circuit"),
        (folders.CIRCUIT, "n_layers", 5, "but a model of"),
        (folders.CIRCUIT, "granularity", "nodes", "granularity 'nodes'"),
    ],
)
def test_cards_and_circuits_that_do_not_fit(folder: Path, name: str, key: str, value: Any, why: str) -> None:
    data = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(data | {key: value}))
    assert why in damaged(folder)


def test_a_folder_knows_its_case(folder: Path) -> None:
    with pytest.raises(UsageError, match="is a subject of case 3, not of case 4"):
        ib.load_subject("4", folder)
    card = json.loads((folder / folders.CARD).read_text())
    (folder / folders.CARD).write_text(json.dumps(card | {"case": "nowhere"}))
    with pytest.raises(UsageError, match="no case 'nowhere'"):
        ib.load_subject(None, folder)


def test_unknown_models_and_cases(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no case '33x'; did you mean '33'?"):
        ib.load_subject("33x")
    with pytest.raises(UsageError, match="did you mean 'tracr'?"):
        ib.load_subject("3", "trakr")
    with pytest.raises(UsageError, match="no folder"):
        ib.load_subject(None, tmp_path / "nothing")


def test_bundled_subjects_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(zoo, "ZOO", tmp_path)
    case = ib.load_case("3")
    assert zoo.models(case) == ["tracr"]
    for kind in ("natural", "siit"):
        ib.save_subject(ib.load_subject("3", "tracr"), tmp_path / "3" / kind)
    assert zoo.models(case) == ["siit", "natural", "tracr"]
    assert ib.load_subject("3").kind == "siit"


def test_a_model_that_is_not_bundled_says_how_to_make_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(zoo, "ZOO", tmp_path)
    with pytest.raises(UsageError, match="interpbench train siit --case 3"):
        ib.load_subject("3", "siit")


def test_a_reference_that_is_no_transformer_is_no_model() -> None:
    assert "tracr" not in zoo.models(ib.load_case("ioi"))
    with pytest.raises(UsageError, match="case ioi"):
        ib.load_subject("ioi", "tracr")


def test_what_was_measured_on_another_circuit_does_not_count(tmp_path: Path) -> None:
    subject = ib.load_subject("3")
    folder = ib.save_subject(subject, tmp_path / "3")
    assert ib.load_subject(None, folder).card["certificate"] == subject.card["certificate"]
    circuit = json.loads((folder / folders.CIRCUIT).read_text())
    circuit["edges"] = circuit["edges"][1:]
    (folder / folders.CIRCUIT).write_text(json.dumps(circuit))
    edited = ib.load_subject(None, folder)
    assert edited.card["certificate"] is None and edited.card["edge_classes"] is None
    assert edited.truth_hash != subject.truth_hash and edited.weights_hash == subject.weights_hash
