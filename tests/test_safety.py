"""Hostile and damaged files: each is refused in one line, nothing is run, nothing is written."""

from __future__ import annotations

import copyreg
import io
import json
import os
import pickle
import shutil
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import interpbench as ib
from interpbench.cases.rasp import cache as compiled
from interpbench.certificate.edge_classes import EdgeClasses
from interpbench.errors import InterpbenchError
from interpbench.graph import Circuit, EdgeScores, Graph
from interpbench.graph.circuit_file import from_circuit_file
from interpbench.hub.published import CONFIG, EDGES, TRAINING, WEIGHTS, read_published
from interpbench.hub.unpickle import read_plain
from interpbench.runs import store

REPLICA = Path(__file__).parent / "data" / "hub" / "dict_cfg" / "3"
BAIT = "interpbench_bait"


@pytest.fixture
def bait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to stand in, and what must not appear: the file that every attack would make."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.delenv(BAIT, raising=False)
    yield place
    assert list(place.iterdir()) == [] and BAIT not in os.environ, "something was run or written"


COMMAND = f"touch {BAIT}"


class Attack:
    """Pickles as a call of `os.system`."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced or (os.system, (COMMAND,))

    def __reduce__(self) -> Any:
        return self.reduced


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


SYSTEM, TOUCH = b"cos\nsystem\n", text(COMMAND)
PICKLES: dict[str, tuple[bytes, str]] = {
    "GLOBAL and REDUCE": (SYSTEM + TOUCH + b"\x85R.", "os.system"),
    "STACK_GLOBAL": (b"\x80\x04" + text("os") + text("system") + b"\x93" + TOUCH + b"\x85R.", "os.system"),
    "as Python writes it": (pickle.dumps(Attack()), "posix.system"),
    "protocol 0": (pickle.dumps(Attack(), 0), "posix"),
    "INST": (b"(" + TOUCH + b"ios\nsystem\n.", "INST"),
    "OBJ": (b"(" + SYSTEM + TOUCH + b"o.", "os.system"),
    "NEWOBJ": (b"\x80\x02csubprocess\nPopen\n" + TOUCH + b"\x85\x81.", "subprocess.Popen"),
    "NEWOBJ_EX": (b"\x80\x04csubprocess\nPopen\n" + TOUCH + b"\x85}\x92.", "subprocess.Popen"),
    "BUILD with __setstate__": (b"}" + text("__setstate__") + SYSTEM + b"sb.", "os.system"),
    "BUILD of nothing": (b"\x80\x02}" + text("a") + b"b.", "damaged pickle"),
    "nested in a list": (pickle.dumps([[{"n_layers": [Attack()]}]]), "posix.system"),
    "as a field": (pickle.dumps({"n_layers": 2, "d_model": Attack()}), "posix.system"),
    "eval": (pickle.dumps(Attack(eval, (f"__import__('os').system('{COMMAND}')",))), "builtins.eval"),
    "getattr": (b"cbuiltins\ngetattr\n(cos\n" + b"system\ntR.", "builtins.getattr"),
    "an admitted module's other name": (b"cnumpy\nload\n" + TOUCH + b"\x85R.", "numpy.load"),
    "a dotted name": (b"\x80\x04" + text("torch") + text("serialization.os.system") + b"\x93.", "torch.serial"),
    "torch.load": (b"ctorch\nload\n" + TOUCH + b"\x85R.", "torch.load"),
    "copyreg": (b"ccopyreg\n_reconstructor\n(cos\nsystem\ncbuiltins\nobject\nNtR.", "copyreg._reconstructor"),
    "copyreg by its old name": (b"ccopy_reg\n_reconstructor\n.", "copy_reg._reconstructor"),
    "an extension code": (b"\x80\x02\x82\xf0" + TOUCH + b"\x85R.", "EXT1"),
    "a longer extension code": (b"\x80\x02\x84\xf0\x00\x00\x00" + TOUCH + b"\x85R.", "EXT4"),
    "a persistent id": (b"Pbait\n.", "PERSID"),
    "another persistent id": (b"\x80\x02" + text("bait") + b"Q.", "BINPERSID"),
    "a call of what is no maker": (b"\x80\x02" + text("os.system") + TOUCH + b"\x85R.", "damaged pickle"),
    "a call of an admitted number type": (b"ctorch\nfloat32\n)R.", "damaged pickle"),
    "a module with line breaks": (b"\x80\x04" + text("os\nerror: x") + text("system") + b"\x93.", "not admitted"),
    "nothing": (b"", "pickle exhausted"),
    "no pickle": (b"\xff\xfegarbage", "opcode"),
    "truncated": ((REPLICA / CONFIG).read_bytes()[:500], ""),
    "no end": (b"\x80\x04]", "exhausted"),
    "an empty stack": (b"\x80\x04\x93.", "damaged pickle"),
    "no mark": (b"\x80\x04]e.", "damaged pickle"),
    "a memo that is not there": (b"\x80\x04h\x07.", "damaged pickle"),
    "a frame of exabytes": (b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"]", "exhausted"),
    "a text of exabytes": (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"abc.", ""),
    "a text of 4 GB": (b"\x80\x04X" + struct.pack("<I", 0xFFFFFFFF) + b"abc.", "expected 4294967295"),
    "a byte array of 64 GB": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 36) + b"abc.", ""),
    "a memo of 2 billion places": (b"\x80\x04]r\xff\xff\xff\x7f0.", "POP"),
    "a number of many digits": (b"I" + b"9" * 200_000 + b"\n.", ""),
    "lists in lists, too deep": (b"(" * 100_000 + b"l" * 100_000 + b".", "LIST"),
    "tuples in tuples, too deep": (b")" + b"\x85" * 200_000 + b".", "configuration"),
    "a key that takes for ever to hash": (b"}" + b")" + b"2\x86" * 40 + b"Ns.", "DUP"),
    "a key of nested tuples": (b"})" + b"\x94h\x00\x86"[0:1] + b"h\x00\x86\x94h\x01\x86N" + b"s.", "damaged pickle"),
    "nesting in a device": (b"ctorch\ndevice\n)" + b"\x85" * 100_000 + b"\x85R.", "damaged pickle"),
    "too large": (b"\x80\x04" + text("x" * (1 << 20)) + b".", "more than 262144 bytes"),
    "a number of an unknown type": (
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(" + text("O") + b"tRC\x01xtR.",
        "",
    ),
    "a number cut short": (b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(" + text("f8") + b"tRC\x01xtR.", ""),
    "only a text": (pickle.dumps("config"), "'config' where a configuration belongs"),
    "only a list": (pickle.dumps(["config"]), "a list where a configuration belongs"),
}


def config(**fields: Any) -> bytes:
    return pickle.dumps(read_plain((REPLICA / CONFIG).read_bytes()) | fields)


def without(field: str) -> bytes:
    fields = read_plain((REPLICA / CONFIG).read_bytes())
    return pickle.dumps({name: value for name, value in fields.items() if name != field})


CONFIGS: dict[str, tuple[bytes, str]] = {
    "without a field": (without("n_layers"), "lacks 'n_layers'"),
    "a text for a number": (config(n_layers="two"), "n_layers is 'two'"),
    "a truth for a number": (config(n_heads=True), "n_heads is True"),
    "a list for a number": (config(d_model=[12]), "d_model is a list"),
    "a billion layers": (config(n_layers=10**9), "n_layers is 1000000000"),
    "too many edges": (config(n_layers=100_000), "more than 1000000 edges"),
    "a number of thousands of digits": (config(d_vocab=10**5000), ""),
    "no layers": (config(n_layers=0), "n_layers is 0"),
    "less than none": (config(d_head=-3), "d_head is -3"),
    "a scale that is none": (config(attn_scale=float("nan")), "attn_scale is nan"),
    "a scale below none": (config(attn_scale=-2.0), "attn_scale is -2.0"),
    "a list for a scale": (config(attn_scale=[1.0]), "attn_scale is a list"),
    "an unknown activation": (config(act_fn="os.system"), "act_fn is 'os.system'"),
    "an unknown norm": (config(normalization_type="RMS"), "normalization_type is 'RMS'"),
    "what we do not have": (config(attn_only=True), "attn_only is True"),
    "positions that we do not have": (
        config(positional_embedding_type="rotary"),
        "positional_embedding_type is 'rotary'",
    ),
    "another shape than the weights": (config(d_mlp=47), "weight blocks.0.mlp.W_in has shape (12, 48)"),
    "another vocabulary than the case": (config(d_vocab=7), "embed.W_E has shape"),
}

BAD_EDGES: dict[str, tuple[bytes, str]] = {
    "code": PICKLES["as Python writes it"],
    "no list": (pickle.dumps({"a": 1}), "expected a list of edges"),
    "no edges": (pickle.dumps([]), "expected a list of edges"),
    "numbers": (pickle.dumps([(1, 2)]), "not a pair"),
    "three": (pickle.dumps([("hook_embed",) * 3]), "not a pair"),
    "no hook": (pickle.dumps([("hook_embed", "os.system('true')")]), "no hook"),
    "a path": (pickle.dumps([("../../hook_embed", "blocks.0.hook_mlp_in")]), "no hook"),
    "a layer that is not there": (pickle.dumps([("hook_embed", "blocks.7.hook_mlp_in")]), "no edge"),
    "a long hook": (pickle.dumps([("hook_embed", "h" * 200_000)]), "no hook"),
    "backwards": (pickle.dumps([("blocks.1.hook_mlp_out", "blocks.0.hook_mlp_in")]), "no edge"),
    "itself": (b"\x80\x04]\x94h\x00a.", "not a pair of hook names: list"),
}


def state(**changed: Any) -> bytes:
    weights = dict(torch.load(REPLICA / WEIGHTS, weights_only=True)) | {
        k.replace("__", "."): v for k, v in changed.items()
    }
    file = io.BytesIO()
    torch.save({name: value for name, value in weights.items() if value is not None}, file)
    return file.getvalue()


def archive(change: Callable[[str, bytes], tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(REPLICA / WEIGHTS) as old, zipfile.ZipFile(file, "w", compression) as new:
        for info in old.infolist():
            new.writestr(*change(info.filename, old.read(info)))
    return file.getvalue()


def saved(value: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **how)
    return file.getvalue()


WHOLE = (REPLICA / WEIGHTS).read_bytes()
STATES: dict[str, tuple[Callable[[], bytes], str]] = {
    "code": (lambda: state(embed__W_E=Attack()), "posix.system, which is not admitted"),
    "code, the old format": (lambda: saved({"a": Attack()}, _use_new_zipfile_serialization=False), ""),
    "code alone": (lambda: pickle.dumps(Attack()), ""),
    "code for the pickle inside": (
        lambda: archive(lambda name, data: (name, pickle.dumps(Attack()) if name.endswith("data.pkl") else data)),
        "not plain data and tensors",
    ),
    "a whole module": (lambda: saved(torch.nn.Linear(2, 2)), "not admitted"),
    "truncated": (lambda: WHOLE[:5000], ""),
    "its head cut off": (lambda: WHOLE[3000:], ""),
    "empty": (lambda: b"", ""),
    "garbage": (lambda: b"PK\x03\x04" + b"\xff" * 500, ""),
    "flipped bytes": (lambda: WHOLE[:300] + bytes(255 - b for b in WHOLE[300:700]) + WHOLE[700:], ""),
    "a record cut short": (lambda: archive(lambda n, d: (n, d[:8] if n.endswith("data/1") else d)), ""),
    "compressed": (lambda: archive(lambda n, d: (n, d), zipfile.ZIP_DEFLATED), "larger inside than outside"),
    "a zip bomb": (
        lambda: archive(lambda n, d: (n, b"\0" * (64 << 20) if n.endswith("data/0") else d), zipfile.ZIP_DEFLATED),
        "larger inside than outside",
    ),
    "names of places of ours": (lambda: archive(lambda n, d: (f"../../{n}", d)), ""),
    "a list": (lambda: saved([torch.zeros(2)]), "a list where named weights belong"),
    "numbers for names": (lambda: saved({1: torch.zeros(2)}), "where named weights belong"),
    "a text for a weight": (lambda: state(embed__W_E="x"), "embed.W_E is 'x'"),
    "a missing weight": (lambda: state(embed__W_E=None), "weight embed.W_E is missing"),
    "a surplus weight": (lambda: state(**{"../../evil": torch.zeros(2)}), "weight ../../evil is not one"),
    "a wrong shape": (lambda: state(embed__W_E=torch.zeros(6, 13)), "weight embed.W_E has shape (6, 13)"),
    "an expanded giant": (lambda: state(embed__W_E=torch.zeros(1).expand(10**6, 10**6)), "weight embed.W_E has shape"),
    "a wrong type": (lambda: state(unembed__b_U=torch.zeros(1).double()), "is torch.float64, expected float32"),
    "whole numbers": (lambda: state(unembed__b_U=torch.zeros(1).int()), "is torch.int32, expected float32"),
    "NaN": (lambda: state(unembed__b_U=torch.tensor([torch.nan])), "unembed.b_U holds NaN or infinity"),
    "infinity": (lambda: state(unembed__b_U=torch.tensor([-torch.inf])), "unembed.b_U holds NaN or infinity"),
    "a sparse weight": (lambda: state(embed__W_E=torch.zeros(6, 12).to_sparse()), ""),
}
TRAININGS: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "unreadable"),
    "NaN": (b'{"lr": NaN}', "NaN is not JSON"),
    "too deep": (b"[" * 100_000, "nested too deeply"),
    "not text": (b"\xff\xfe\xfa", "unreadable"),
}


CORPUS: dict[str, dict[str, tuple[Any, str]]] = {
    CONFIG: PICKLES | CONFIGS,
    EDGES: BAD_EDGES,
    WEIGHTS: STATES,
    TRAINING: TRAININGS,
}


@pytest.mark.parametrize(("file", "what"), [(file, what) for file, corpus in CORPUS.items() for what in corpus])
def test_a_hostile_published_folder(cli: Callable, bait: Path, tmp_path: Path, file: str, what: str) -> None:
    content, why = CORPUS[file][what]
    folder = shutil.copytree(REPLICA, tmp_path / "3")
    (folder / file).write_bytes(content() if callable(content) else content)
    ended = cli("hub", "convert", folder, "--out", tmp_path / "out" / "three")
    assert ended.status == 1 and ended.out == "", ended
    assert ended.err.startswith(f"error: {folder}/") and ended.err.count("\n") == 1 and len(ended.err) < 600
    assert why in ended.err and "Traceback" not in ended.err and "weights_only" not in ended.err
    assert not (tmp_path / "out").exists() and not list(tmp_path.rglob("evil*"))


def test_the_corpus_would_bite(bait: Path) -> None:
    """Python's own unpickler runs what ours refuses, so that refusing it means something."""
    bitten = []
    for what, (content, _) in PICKLES.items():
        if TOUCH in content or COMMAND.encode() in content:
            try:
                pickle.loads(content)
            except Exception:
                continue
            finally:
                if (bait / BAIT).exists():
                    (bait / BAIT).unlink()
                    bitten.append(what)
    assert {"GLOBAL and REDUCE", "STACK_GLOBAL", "INST", "OBJ", "protocol 0", "nested in a list", "eval"} <= set(bitten)


def test_extension_codes_run_nothing_even_if_they_are_known(bait: Path) -> None:
    copyreg.add_extension("os", "system", 0xF0)
    try:
        with pytest.raises(ValueError, match="EXT1"):
            read_plain(PICKLES["an extension code"][0])
    finally:
        copyreg.remove_extension("os", "system", 0xF0)
        copyreg.clear_extension_cache()


@pytest.mark.parametrize("what", PICKLES)
def test_a_pickle_takes_little_time_and_memory(what: str) -> None:
    content = PICKLES[what][0][: 1 << 18]
    tracemalloc.start()
    began = time.process_time()
    try:
        read_plain(content)
    except ValueError as error:
        assert "\n" not in str(error).strip()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 200 << 20 and time.process_time() - began < 20


def test_plain_pickles_are_what_python_reads() -> None:
    plain = {"a": [1, -3, 2**40, 2.5, None, True, False, "ä", b"b", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}]}
    for protocol in range(3, pickle.HIGHEST_PROTOCOL + 1):
        assert read_plain(pickle.dumps(plain, protocol)) == plain
    import numpy as np

    for number in (np.float64(0.1), np.float32(0.5), np.int64(-7), np.bool_(True)):
        read = read_plain(pickle.dumps({"x": number}))["x"]
        assert read == number.item() and type(read) is type(number.item())
    device = read_plain(pickle.dumps({"d": torch.device("cpu"), "t": torch.float32}))
    assert device == {"d": "cpu", "t": "torch.float32"}


def test_names_of_cases_are_no_paths(cli: Callable, bait: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(REPLICA, tmp_path / "3")
    for name in ("../3", "../../etc", "/etc", "3/../4", "."):
        ended = cli("hub", "convert", folder, "--case", name, "--out", tmp_path / "out")
        assert ended.status == 2 and ended.err.count("\n") == 1 and "no case" in ended.err
        assert cli("hub", "pull", name).status == 2
    assert not (tmp_path / "out").exists()


# Subjects of our own form


def header(size: int, content: bytes = b"{}") -> bytes:
    return struct.pack("<Q", size) + content


def card(**changed: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        told = json.loads((folder / "card.json").read_text()) | changed
        (folder / "card.json").write_text(json.dumps(told))

    return change


def circuit(**changed: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        told = json.loads((folder / "circuit.json").read_text()) | changed
        (folder / "circuit.json").write_text(json.dumps(told))

    return change


def raw(name: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return change


def shape(**changed: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "weights.safetensors"
        told = asdict(ib.load_subject("3", folder).model.config) | changed
        save_file(load_file(path), path, metadata={"config": json.dumps(told)})

    return change


def metadata(told: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "weights.safetensors"
        save_file(load_file(path), path, metadata={"config": told})

    return change


def link(name: str, target: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return change


def pipe(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


DEEP = b"[" * 100_000
SEEN = EdgeClasses("resample", 0, 250, 4, 1.0, {"embed->m0": 4, "m0->logits": 0}, (), ("embed->m0",), 1.0).to_json()
SUBJECTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a header of exabytes": (raw("weights.safetensors", header(1 << 60)), "unreadable"),
    "a header larger than the file": (raw("weights.safetensors", header(1 << 20)), "unreadable"),
    "a header that is no JSON": (raw("weights.safetensors", header(4, b"\xff\xfe[{")), "unreadable"),
    "a header too deep": (raw("weights.safetensors", header(len(DEEP), DEEP)), "unreadable"),
    "weights without end": (link("weights.safetensors", "/dev/zero"), "unreadable"),
    "weights that never come": (pipe("weights.safetensors"), "unreadable"),
    "a card that never comes": (pipe("card.json"), "unreadable"),
    "offsets outside the file": (
        raw("weights.safetensors", header(64, b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,1600]}}'.ljust(64))),
        "unreadable",
    ),
    "a pickle for weights": (raw("weights.safetensors", pickle.dumps(Attack())), "unreadable"),
    "a configuration too deep": (metadata("[" * 100_000), "nested too deeply"),
    "a configuration that is a list": (metadata("[1]"), "unreadable"),
    "a configuration with NaN": (metadata('{"n_layers": NaN}'), "NaN is not JSON"),
    "a billion layers": (shape(n_layers=10**9), "n_layers is 1000000000"),
    "too many heads": (shape(n_heads=10**6), "more than 1000000 edges"),
    "an infinite size": (metadata('{"d_model": 1e999}'), "unreadable"),
    "half a head": (shape(n_heads=0.5), "n_heads is 0.5"),
    "a scale that is a list": (shape(attn_scale=[1]), "attn_scale is a list"),
    "a card that is a list": (raw("card.json", b"[1]"), "not the card of a subject"),
    "a card too deep": (raw("card.json", DEEP), "nested too deeply"),
    "a card with NaN": (raw("card.json", b'{"schema": NaN}'), "NaN is not JSON"),
    "a card without end": (link("card.json", "/dev/zero"), "not a file"),
    "a card that is nowhere": (link("card.json", "nowhere"), "no such file"),
    "a case that is a list": (card(case=["3"]), "case is a list"),
    "a certificate that is a text": (card(certificate="yes"), "certificate is 'yes'"),
    "classes of edges that are a list": (card(edge_classes=["core"]), "edge_classes is a list"),
    "classes of edges of a text": (card(edge_classes={"resample": "core"}), "not the classes of edges"),
    "classes of edges of a list": (card(edge_classes={"resample": ["core"]}), "not the classes of edges"),
    "classes of edges without numbers": (card(edge_classes={"resample": {"classes": {}}}), "not the classes of edges"),
    "classes of edges that say otherwise": (
        card(edge_classes={"resample": SEEN | {"classes": dict.fromkeys(SEEN["kept"], "core")}}),
        "the classes of edges are not what their counts say",
    ),
    "classes that are a number": (card(classes=7), "classes is 7"),
    "classes that are no answers": (card(classes=[{"float": "os.system"}]), "`classes` is not a list of answers"),
    "classes of nothing": (card(classes=[{}]), "`classes` is not a list of answers"),
    "another hash": (card(weights_hash="0" * 16), "not those of the card"),
    "a hash that is a number": (card(weights_hash=0), "weights_hash is 0"),
    "a billion layers in the circuit": (circuit(n_layers=10**9), "more than 1000000 edges"),
    "a circuit of half a layer": (circuit(n_layers=0.5), "n_layers is 0.5"),
    "a circuit of a text": (circuit(n_heads="4"), "n_heads is '4'"),
    "edges that are numbers": (circuit(edges=[1, 2]), "no edge '1'"),
    "edges with line breaks": (circuit(edges=["a\nerror: b"]), "no edge 'a error: b'"),
    "an edge of a megabyte": (circuit(edges=["m0->" * 300_000]), "no edge"),
    "a circuit too deep": (raw("circuit.json", DEEP), "nested too deeply"),
}


@pytest.mark.parametrize("what", SUBJECTS)
def test_a_hostile_subject(cli: Callable, bait: Path, tmp_path: Path, subject_folder: Path, what: str) -> None:
    change, why = SUBJECTS[what]
    folder = shutil.copytree(subject_folder, tmp_path / "subject")
    change(folder)
    with pytest.raises(InterpbenchError) as error:
        ib.load_subject(None, folder)
    assert why in str(error.value) and "\n" not in str(error.value) and str(folder) in str(error.value)
    ended = cli("run", "eap", "--case", "3", "--model", folder)
    assert ended.status == 1 and ended.err.count("\n") == 1 and len(ended.err) < 600 and ended.out == ""


@pytest.mark.parametrize("name", ["../../3", "3\nerror: x", "x" * 1_000_000])
def test_a_card_of_a_case_that_is_a_path(bait: Path, tmp_path: Path, subject_folder: Path, name: str) -> None:
    folder = shutil.copytree(subject_folder, tmp_path / "subject")
    card(case=name)(folder)
    for case in (None, "3"):
        with pytest.raises(InterpbenchError) as error:
            ib.load_subject(case, folder)
        assert len(str(error.value)) < 2000 and "\n" not in str(error.value)


def test_a_damaged_subject_of_the_cache_is_told(
    cli: Callable, bait: Path, monkeypatch: pytest.MonkeyPatch, subject_folder: Path, tmp_path: Path
) -> None:
    """`show` reads neither weights nor PyTorch: what it reads instead is checked too."""
    monkeypatch.setenv("INTERPBENCH_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(subject_folder, tmp_path / "cache" / "hub" / "3")
    assert cli("show", "3", "--model", "hub").status == 0
    told = json.loads((folder / "card.json").read_text())
    for content in (
        b"",
        header(1 << 60),
        header(2, b"[]"),
        header(len(DEEP), DEEP),
        header(20, b'{"__metadata__": 3}'),
    ):
        (folder / "weights.safetensors").write_bytes(content)
        ended = cli("show", "3", "--model", "hub")
        assert ended.status == 1 and ended.err.count("\n") == 1 and "unreadable" in ended.err and ended.out == ""
    for content in ("[1]", '{"schema": 1, "schema": 1}', json.dumps(told | {"schema": 99})):
        (folder / "card.json").write_text(content)
        for words in (("show", "3", "--model", "hub"), ("list", "models")):
            ended = cli(*words)
            assert ended.status == 1 and ended.err.count("\n") == 1 and "card.json: " in ended.err and ended.out == ""


# Circuit files, runs, the cache of compiled references


def circuit_file(**changed: Any) -> dict[str, Any]:
    graph = Graph(1, 1)
    edges = {name.replace("embed", "input").replace("pos", "input"): {"score": 1.0} for name in graph.edges}
    return {"cfg": {"n_layers": 1, "n_heads": 1}, "edges": edges} | changed


@pytest.mark.parametrize(
    "data",
    [
        None,
        "x",
        [circuit_file()],
        circuit_file(cfg=None),
        circuit_file(cfg={"n_layers": 10**9, "n_heads": 1}),
        circuit_file(cfg={"n_layers": 1e999, "n_heads": 1}),
        circuit_file(cfg={"n_layers": "1", "n_heads": 1}),
        circuit_file(cfg={"n_layers": [1], "n_heads": 1}),
        circuit_file(edges=[]),
        circuit_file(edges={"input->m0": 3}),
        *(
            circuit_file(edges=circuit_file()["edges"] | {"input->m0": {"score": score}})
            for score in (None, "1.0", [1.0], {"a": 1}, True, 10**400, float("nan"))
        ),
        circuit_file(interpbench_inputs=3),
        circuit_file(interpbench_inputs={"embed->m0": {}}),
    ],
)
def test_a_hostile_circuit_file(data: Any) -> None:
    assert isinstance(from_circuit_file(circuit_file()).scores, EdgeScores)
    with pytest.raises(ValueError, match=".") as error:
        from_circuit_file(data)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def changed(record: dict[str, Any], granularity: str, of: str, auroc: Any) -> dict[str, Any]:
    """A record with another AUROC, of all true edges or of the identifiable ones."""
    judged = record["metrics"][granularity]
    judged = judged | {of: auroc if of == "auroc" else judged[of] | {"auroc": auroc}}
    return record | {"metrics": record["metrics"] | {granularity: judged}}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("run.json", lambda record: []),
        ("run.json", lambda record: {}),
        ("run.json", lambda record: record | {"metrics": 3}),
        ("run.json", lambda record: record | {"metrics": {}}),
        ("run.json", lambda record: record | {"metrics": {"edges": 1, "heads": 2, "nodes": 3}}),
        ("run.json", lambda record: record | {"circuit": "x"}),
        ("run.json", lambda record: record | {"circuit": {"n_layers": 10**9, "n_heads": 4}}),
        ("run.json", lambda record: record | {"seconds": "fast"}),
        ("run.json", lambda record: record | {"certified": "yes"}),
        ("run.json", lambda record: record | {"schema": 1}),
        ("run.json", lambda record: record | {"schema": "[" * 1000}),
        ("run.json", lambda record: record | {"truth_hash": 0}),
        ("run.json", lambda record: record | {"subject": None}),
        ("run.json", lambda record: record | {"baseline": "no"}),
        ("run.json", lambda record: record | {"passes": [1, 2]}),
        ("run.json", lambda record: record | {"edge_classes": ["core"]}),
        ("run.json", lambda record: record | {"bare": "all"}),
        ("run.json", lambda record: record | {"certificate_version": "2"}),
        ("run.json", lambda record: record | {"truth": {}}),
        ("run.json", lambda record: record | {"truth": Circuit(Graph(1, 1), frozenset()).to_json()}),
        ("run.json", lambda record: record | {"circuit": Circuit(Graph(1, 1), frozenset()).to_json()}),
        ("run.json", lambda record: record | {"edge_classes": {"m0->m1": "core"}}),
        ("run.json", lambda record: record | {"passes": {"forward": "many"}}),
        ("run.json", lambda record: record | {"ablation": ["resample"]}),
        ("run.json", lambda record: record | {"metrics": record["metrics"] | {"chosen": [1]}}),
        ("run.json", lambda record: record | {"metrics": record["metrics"] | {"mib": {"cpr": "high"}}}),
        *(
            ("run.json", lambda record, auroc=auroc, of=of: changed(record, "heads", of, auroc))
            for auroc in ("high", 7.0)
            for of in ("auroc", "identifiable")
        ),
        ("scores.json", lambda scores: scores | {"cfg": {"n_layers": 10**9, "n_heads": 4}}),
        ("scores.json", lambda scores: scores | {"edges": 3}),
        ("run.json", None),
        ("scores.json", None),
    ],
)
def test_a_damaged_run(cli: Callable, tmp_path: Path, subject_folder: Path, name: str, change: Any) -> None:
    words = ("run", "eap", "--case", "3", "--model", subject_folder, "--samples", "20", "--out", tmp_path / "runs")
    assert cli(*words, "--json").status == 0
    (path,) = tmp_path.rglob(name)
    path.write_bytes(DEEP if change is None else json.dumps(change(json.loads(path.read_text()))).encode())
    ended = cli(*words)
    assert ended.status == 1 and ended.err.count("\n") == 1 and "damaged run" in ended.err and "--force" in ended.err
    assert cli(*words, "--force", "--json").status == 0 and cli(*words, "--json").status == 0
    with pytest.raises(InterpbenchError):
        path.write_text("[")
        assert store.read(path.parent).scores


@pytest.mark.parametrize("facts", ["[" * 100_000, "[]", "{}", '{"config": {"n_layers": 1000000000}}'])
def test_a_damaged_compiled_reference_counts_as_not_there(tmp_path: Path, facts: str) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {"index": torch.tensor([0], dtype=torch.int32), "value": torch.ones(1)}
    save_file(tensors, path, metadata={"interpbench": facts})
    assert compiled._read(path) is None


def test_the_number_of_edges_is_known_before_they_are_made() -> None:
    """The limit is checked in numbers; they are those of the graph."""
    for layers, heads in ((1, 1), (2, 4), (6, 4), (12, 12), (3, 7)):
        graph = Graph(layers, heads)
        ends = 2 + layers * (heads + 1)
        assert graph.n_edges == ends + sum(3 * heads * n + n + heads for n in range(2, ends, heads + 1))
    for layers, heads in ((10**9, 4), (1, 10**9), (0, 4), (2.5, 4), (True, 4), ("2", 4), (float("inf"), 1)):
        with pytest.raises(ValueError, match="expected a whole number|more than"):
            Circuit.from_json({"n_layers": layers, "n_heads": heads, "granularity": "edges", "edges": []})


def test_the_replica_itself_is_sound(bait: Path) -> None:
    assert read_published(REPLICA, ib.load_case("3"), {}).circuit.edges
