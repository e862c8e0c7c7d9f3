"""Following work: what events say, that followers cannot do harm, and a real one, for TensorBoard."""

from __future__ import annotations

import functools
import json
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import interpbench as ib
from interpbench.certificate import certify as certificate
from interpbench.plugins import registry
from interpbench.plugins.progress import ProgressEvent, notifier, numbers_of

HERE = Path(__file__).parent
TRAIN = "train siit --case 3 --steps 6 --eval-every 2 --eval-rows 40 --rows 16 --warmup 3 --seed 5".split()
FOLLOWER = """
import json
from interpbench import hookimpl

@hookimpl
def interpbench_progress(event):
    with open({path!r}, "a") as file:
        file.write(json.dumps(vars(event)) + "\\n")
    {then}
"""


@pytest.fixture(autouse=True)
def quick_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "certify", functools.partial(certificate.certify, rows=100))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Say to Python that a module of the folder `site` is a plugin."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def put(name: str, module: str) -> None:
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[interpbench]\n{name} = {module}\n")

    return put


def follower(tmp_path: Path, install: Callable[[str, str], None], name: str, then: str = "") -> Callable[[], list]:
    """Install a follower that writes events down; returns what reads them."""
    path, module = tmp_path / f"{name}.jsonl", f"follow_{name}_{tmp_path.name}"
    (tmp_path / "site" / f"{module}.py").write_text(FOLLOWER.format(path=str(path), then=then))
    install(name, module)
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]


def test_numbers_are_flat_and_finite() -> None:
    facts = {"loss": 0.5, "open": True, "iia": {"m0": 1, "deep": {"x": 2.0}}}
    facts |= {"nan": float("nan"), "kind": "x", "nothing": None, "list": [1.0]}
    assert numbers_of(facts) == {"loss": 0.5, "open": 1.0, "iia/m0": 1.0, "iia/deep/x": 2.0}


def test_news_of_the_same_work() -> None:
    start = ProgressEvent("train", "3", "siit", 7)
    assert start.after({"step": 2, "steps": 9, "loss": 1.0}) == ProgressEvent(
        "train", "3", "siit", 7, 2, 9, {"loss": 1.0}
    )
    assert start.after({}, ended=True) == ProgressEvent("train", "3", "siit", 7, ended=True)
    with pytest.raises(AttributeError):
        start.step = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("at 0\nand more"), "ValueError: at 0 and more"),
        (SystemExit(0), "plugin bad ended with SystemExit: 0"),
    ],
)
def test_one_that_fails_is_told_once_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture, error: BaseException, told: str
) -> None:
    heard: list[int] = []

    def bad(event: ProgressEvent) -> None:
        raise error

    notify = notifier({"bad": bad, "good": lambda event: heard.append(event.step)})
    for step in range(3):
        notify(ProgressEvent("bench", "3", "eap", 0, step))
    assert heard == [0, 1, 2]
    assert caplog.messages == ["plugin 'bad' failed and gets no further events: " + told]


def test_a_training_is_followed_to_its_end(tmp_path: Path, install: Callable, cli: Callable) -> None:
    heard = follower(tmp_path, install, "follow")
    ended = cli(*TRAIN, "--out", tmp_path / "subject", "--json")
    assert ended.status == 0, ended.err
    events = heard()
    assert [event["step"] for event in events] == [1, 2, 3, 4, 5, 6, 6]
    assert [event["ended"] for event in events] == [False] * 6 + [True]
    for event in events:
        assert (event["what"], event["case"], event["name"], event["seed"]) == ("train", "3", "siit", 5)
        assert event["total"] == 6
    assert events[3]["numbers"].keys() >= {"loss", "bare", "iia/m0"}, "the circuit is being learnt"
    certificate = json.loads(ended.out)["certificate"]
    assert events[-1]["numbers"]["accuracy"] == certificate["accuracy"]


def test_what_a_follower_raises_ends_no_training(
    tmp_path: Path, install: Callable, cli: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    bad = follower(tmp_path, install, "bad", "raise RuntimeError('no connection')")
    good = follower(tmp_path, install, "good")
    ended = cli(*TRAIN, "--out", tmp_path / "subject")
    assert ended.status == 0 and len(bad()) == 1 and len(good()) == 7
    assert caplog.messages == ["plugin 'bad' failed and gets no further events: RuntimeError: no connection"]
    followed = ib.load_subject("3", tmp_path / "subject").weights_hash
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(registry.RESTRICT, "")
        assert cli(*TRAIN, "--out", tmp_path / "alone").status == 0
    assert ib.load_subject("3", tmp_path / "alone").weights_hash == followed


def test_every_seed_is_work_of_its_own(tmp_path: Path, install: Callable, cli: Callable) -> None:
    heard = follower(tmp_path, install, "follow")
    assert cli(*TRAIN, "--seeds", "2", "--out", tmp_path / "subject").status == 0
    assert [(event["seed"], event["step"]) for event in heard() if event["ended"]] == [(5, 6), (6, 6)]


def test_plugins_show_who_follows(tmp_path: Path, install: Callable, cli: Callable) -> None:
    follower(tmp_path, install, "follow")
    rows = {row["name"]: row for row in json.loads(cli("plugins", "--json").out)["plugins"]}
    assert rows["follow"]["progress"] is True and rows["trainers"]["progress"] is False
    assert "follows progress" in cli("plugins").out


def test_a_hook_of_another_signature_is_a_broken_plugin(tmp_path: Path, install: Callable, cli: Callable) -> None:
    module = f"wrong_{tmp_path.name}"
    code = "from interpbench import hookimpl\n@hookimpl\ndef interpbench_progress(case, step): ...\n"
    (tmp_path / "site" / f"{module}.py").write_text(code)
    install("wrong", module)
    rows = {row["name"]: row for row in json.loads(cli("plugins", "--json").out)["plugins"]}
    assert "PluginValidationError" in rows["wrong"]["error"] and "interpbench_progress" in rows["wrong"]["error"]


class StandIn:
    """What TensorBoard's writer does, as far as the example needs it."""

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / "scalars.json"
        self.scalars: list[Any] = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def close(self) -> None:
        self.path.parent.mkdir(parents=True)
        self.path.write_text(json.dumps(self.scalars))


def test_the_tensorboard_example(
    tmp_path: Path, install: Callable, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = "interpbench_tensorboard"
    shutil.copytree(HERE / "tensorboard_plugin" / package, tmp_path / "site" / package)
    install("tensorboard", package)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=StandIn))
    assert cli(*TRAIN, "--out", tmp_path / "silent").status == 0, "nothing is asked of it"
    monkeypatch.setenv("INTERPBENCH_TENSORBOARD", str(tmp_path / "logs"))
    ended = cli(*TRAIN, "--out", tmp_path / "subject", "--json")
    assert ended.status == 0 and ended.err == ""
    (path,) = (tmp_path / "logs").rglob("*.json")
    assert path.parent == tmp_path / "logs" / "train" / "3" / "siit" / "5"
    scalars = json.loads(path.read_text())
    assert [step for name, _, step in scalars if name == "loss"] == [1, 2, 3, 4, 5, 6]
    told = {name: value for name, value, _ in scalars}
    assert told["certificate/accuracy"] == json.loads(ended.out)["certificate"]["accuracy"]
