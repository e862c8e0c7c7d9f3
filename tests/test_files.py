"""Files: written whole or not at all, places that cannot be written refused before any work, nothing left behind."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import interpbench as ib
from interpbench import files
from interpbench.cases.rasp import cache as compiled
from interpbench.errors import InterpbenchError
from interpbench.plugins import registry
from interpbench.runs import store
from interpbench.runs.run import NotStored
from interpbench.trainers import checkpoint
from interpbench.trainers.optimizer import FlatAdam
from interpbench.trainers.siit import NaturalTrainer

REPLICA = Path(__file__).parent / "data" / "hub" / "dict_cfg" / "3"
LONG = "n" * 300


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that is full when data reaches it."""

    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        yield


def test_many_write_one_path(tmp_path: Path) -> None:
    """Threads of one process, as processes in two containers: all have the same number."""
    path = tmp_path / "one"
    texts = [str(i) * 1000 for i in range(8)]
    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(lambda text: [files.write_text(path, text) for _ in range(30)], texts))
    assert path.read_text() in texts and list(tmp_path.iterdir()) == [path]


def test_names_may_be_as_long_as_the_system_allows(tmp_path: Path, subject_folder: Path) -> None:
    files.write_text(tmp_path / ("n" * 255), "text")
    assert ib.save_subject(ib.load_subject(None, subject_folder), tmp_path / ("m" * 255)).is_dir()


def test_texts_are_utf_8_and_folders_are_made(tmp_path: Path) -> None:
    files.write_text(tmp_path / "new" / "er" / "file", "x²")
    assert (tmp_path / "new" / "er" / "file").read_bytes() == "x²".encode()


def test_failed_writes_leave_what_was_there(tmp_path: Path, subject_folder: Path, full: None) -> None:
    old = tmp_path / "old"
    old.write_text("old")
    subject = ib.load_subject(None, subject_folder)
    before = {path: path.read_bytes() for path in subject_folder.iterdir()}
    adam = FlatAdam(subject.model, 0.9)
    writes: list[Callable[[], Any]] = [
        lambda: files.write_text(old, "new"),
        lambda: checkpoint.save(tmp_path, {}, adam, checkpoint.Progress(), torch.Generator()),
    ]
    for write in writes:
        with pytest.raises(OSError, match="No space"):
            write()
    with pytest.raises(InterpbenchError, match="old: cannot be written: No space left on device"):
        files.check_new(old, force=True)
    with pytest.raises(InterpbenchError, match="three: cannot be written: No space left on device"):
        ib.save_subject(subject, subject_folder, force=True)
    compiled._write(tmp_path / "cache", ib.load_case("3").reference())
    assert old.read_text() == "old" and list(tmp_path.iterdir()) == [old]
    assert {path: path.read_bytes() for path in subject_folder.iterdir()} == before
    assert list(subject_folder.parent.iterdir()) == [subject_folder]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "old").touch()
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(errno.EIO, "broken")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="broken"), files.folder_written_whole(tmp_path / "there") as new:
        (new / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "old"]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "dead").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize("place", ["file", "dead", "loop", LONG, "/dev/null"])
@pytest.mark.parametrize(
    "command",
    [
        *("run norm --case 3 --out PLACE", "run norm --case 3,4 --out PLACE"),
        "bench --techniques norm --case 3 --out PLACE --jobs 1",
        *("train natural --case 3 --out PLACE", "train natural --case 3 --out PLACE/x"),
        *("show 3 --plot PLACE", "show 3 --plot PLACE/x.svg", "eval node-effects --case 3 --plot PLACE/x.svg"),
        *(f"hub convert {REPLICA} --out PLACE", f"hub convert {REPLICA} --out PLACE/x --force"),
        "eval realism --case 3 --technique norm --models siit --out PLACE",
    ],
)
def test_places_that_cannot_be_written_are_refused_before_any_work(
    cli: Callable[..., Any], places: Path, monkeypatch: pytest.MonkeyPatch, command: str, place: str
) -> None:
    def works(*_: Any, **__: Any) -> None:
        raise AssertionError("it began")

    norm = type(registry.load().technique("norm"))
    for work in ((norm, "discover"), (NaturalTrainer, "train")):
        monkeypatch.setattr(*work, works)
    monkeypatch.setattr("interpbench.evaluation.node_effects.node_effects", works)
    before = sorted(places.rglob("*"))
    ended = cli(*command.replace("PLACE", place).split())
    assert ended.status == (1 if "3,4" in command else 2)
    last = ended.err.splitlines()[-1]
    assert "cannot be written: " in last or last.endswith("exists; --force replaces it")
    assert "began" not in ended.err and "Traceback" not in ended.err
    assert sorted(places.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("show 3 --plot /dev/null --force", "/dev/null is not an ordinary file"),
        ("show 3 --plot folder --force", "folder is not an ordinary file"),
        ("train natural --case 3 --out folder --force", "folder is not the folder of a subject"),
        (f"hub convert {REPLICA} --out folder --force", "folder is not the folder of a subject"),
        (f"hub convert {REPLICA} --out file --force", "file is not the folder of a subject"),
        (f"hub convert {REPLICA} --out . --force", ".: cannot be written"),
    ],
)
def test_force_replaces_only_what_would_be_written(
    cli: Callable[..., Any], places: Path, command: str, why: str
) -> None:
    (places / "folder").mkdir()
    (places / "folder" / "thesis").touch()
    ended = cli(*command.split())
    assert ended.status == 2 and ended.err.startswith(f"error: {why}")
    assert (places / "folder" / "thesis").exists() and (places / "file").exists()


@pytest.mark.parametrize("words", ["show 3 --model", "report", "score --case 3", "hub convert", "verify 3 --model"])
def test_names_that_cannot_be_looked_up_are_one_line(cli: Callable[..., Any], words: str) -> None:
    ended = cli(*words.split(), LONG)
    assert ended.status == 1 and ended.err == f"error: {LONG}: File name too long\n"


def test_a_run_that_cannot_be_stored_is_not_lost(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "write", write)
    with pytest.raises(NotStored, match="the run cannot be stored: No space left on device") as error:
        ib.run("norm", "3", samples=20, out=tmp_path)
    alone = ib.run("norm", "3", samples=20)
    assert error.value.result.metrics == alone.metrics and error.value.result.folder is None
    words = ("run", "norm", "--case", "3", "--samples", "20", "--out", tmp_path)
    ended = cli(*words)
    assert ended.status == 1 and "AUROC" in ended.out and "cannot be stored: No space" in ended.err
    assert '"auroc"' in cli(*words, "--json").out


def test_a_traceback_that_cannot_be_stored_hides_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        monkeypatch.setattr(store, "write_text", lambda *_: Path(LONG).stat())
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(type(registry.load().technique("norm")), "discover", fails)
    with pytest.raises(ZeroDivisionError):
        ib.run("norm", "3", samples=20, out=tmp_path)
