"""Published subjects: fetched from a small hub of our own (HF_ENDPOINT), converted, used; ours published."""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch

import interpbench as ib
from interpbench.cases.alignment import Alignment
from interpbench.cases.pairs import fresh_data
from interpbench.catalogue import croissant as metadata
from interpbench.catalogue.suites import suite_cases
from interpbench.certificate import certify as certificate
from interpbench.certificate.certificate import Headline, demands
from interpbench.certificate.interventions import agreement
from interpbench.errors import InterpbenchError, UsageError
from interpbench.graph import Graph
from interpbench.hub.edges import parse_edges
from interpbench.hub.errors import hub_errors
from interpbench.hub.published import CONFIG, WEIGHTS, read_published
from interpbench.hub.unpickle import read_plain
from interpbench.plugins.registry import load
from interpbench.subjects import zoo
from interpbench.subjects.zoo import UNCERTIFIED
from interpbench.transformer import Config, Transformer, initialize

DATA = Path(__file__).parent / "data" / "hub"
CHECK = json.loads((DATA / "check.json").read_text())
PUBLISHED = json.loads((Path(__file__).parent / "data" / "published_cases.json").read_text())["cases"]
HOOKS = json.loads((DATA / "edges.json").read_text())["cases"]
REPO, COMMIT = "someone/weights", "a1242a84f8a4d07d1be9a8f5ec710415198016b2"
TRUE = {"a1.h2->logits", "embed->m0", "m0->a1.h2<v>", "pos->a1.h2<k>", "pos->a1.h2<q>"}


class Hub(ThreadingHTTPServer):
    """The few endpoints of the hub that are needed; `files` of one repository, `asked` what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.pushed: dict[str, bytes] = {}
        self.status, self.commit = 200, COMMIT

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def serve(self, folder: Path) -> None:
        self.files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*")}


class _Answer(BaseHTTPRequestHandler):
    server: Hub  # type: ignore[assignment]

    def do_GET(self) -> None:
        hub, path = self.server, self.path.split("?")[0]
        hub.asked.append(path)
        if hub.status != 200:
            return self.say(hub.status, b"{}")
        if path.startswith("/api/models/"):
            name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            if name != REPO:
                return self.say(404, b"{}", ("X-Error-Code", "RepoNotFound"))
            if revision not in ("", "main", hub.commit):
                return self.say(404, b"{}", ("X-Error-Code", "RevisionNotFound"))
            siblings = [{"rfilename": name} for name in hub.files]
            return self.say(200, json.dumps({"id": REPO, "sha": hub.commit, "siblings": siblings}).encode())
        content = hub.files.get(path.removeprefix(f"/{REPO}/resolve/").partition("/")[2])
        if content is None:
            return self.say(404, b"", ("X-Error-Code", "EntryNotFound"))
        etag = hashlib.sha256(content).hexdigest()
        return self.say(200, content, ("ETag", f'"{etag}"'), ("X-Repo-Commit", hub.commit))

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        hub, sent = self.server, self.rfile.read(int(self.headers["Content-Length"]))
        hub.asked.append(self.path)
        if hub.status != 200 or self.headers.get("Authorization") != "Bearer secret":
            return self.say(401, b'{"error": "Invalid credentials in Authorization header"}')
        if self.path == "/api/repos/create":
            return self.say(200, json.dumps({"url": f"{hub.address}/{REPO}"}).encode())
        if "/preupload/" in self.path:
            files = [{"path": each["path"], "uploadMode": "regular"} for each in json.loads(sent)["files"]]
            return self.say(200, json.dumps({"files": [each | {"shouldIgnore": False} for each in files]}).encode())
        if self.path == "/api/validate-yaml":
            return self.say(200, b'{"errors": [], "warnings": []}')
        for line in map(json.loads, sent.splitlines()):
            if line["key"] == "file":
                hub.pushed[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        answer = {"success": True, "commitUrl": f"{hub.address}/{REPO}/commit/1", "commitOid": "1", "hookOutput": ""}
        return self.say(200, json.dumps(answer).encode())

    def say(self, status: int, content: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A running hub, and caches of this test alone."""
    with Hub() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        server.serve(DATA / "dict_cfg")
        point_at(monkeypatch, server.address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setenv("INTERPBENCH_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server
        server.shutdown()


def point_at(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def pull(cli: Callable, *words: Any) -> Any:
    return cli("hub", "pull", *words, "--repo", REPO)


def assert_one_line(ended: Any, status: int, why: str) -> None:
    assert (ended.status, ended.out) == (status, ""), ended
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1 and why in ended.err


# Fetching and converting


@pytest.mark.parametrize("kind", ["dict_cfg", "object_cfg"])
def test_what_is_pulled_answers_as_published(cli: Callable, hub: Hub, kind: str) -> None:
    hub.serve(DATA / kind)
    ended = pull(cli, "3", "--json")
    assert ended.status == 0, ended.err
    assert json.loads(ended.out)["cases"] == [{"case": "3", "state": "converted"}]
    subject = ib.load_subject("3", "hub")
    logits = subject.model(torch.tensor(CHECK["inputs"]))
    assert torch.allclose(logits, torch.tensor(CHECK["logits"]), rtol=0, atol=1e-5)
    assert subject.kind == "hub" and subject.circuit.edges == TRUE
    card = subject.card
    assert card["certificate"] is None and card["source"]["commit"] == COMMIT and card["training"]["seed"] == 1234
    assert card["program_digest"] == subject.case.reference().digest
    assert card["source"]["sha256"][WEIGHTS] == hashlib.sha256(hub.files[f"3/{WEIGHTS}"]).hexdigest()


@pytest.mark.parametrize("kind", ["dict_cfg", "object_cfg"])
def test_a_local_folder_gives_the_same(cli: Callable, hub: Hub, tmp_path: Path, kind: str) -> None:
    assert pull(cli, "3").status == 0
    words = ("hub", "convert", DATA / kind / "3", "--out", tmp_path / "three")
    assert cli(*words).status == 0
    pulled, converted = ib.load_subject("3", "hub"), ib.load_subject(None, tmp_path / "three")
    assert converted.weights_hash == pulled.weights_hash and converted.circuit == pulled.circuit
    assert converted.model.config == pulled.model.config
    assert_one_line(cli(*words), 2, "--force")
    assert json.loads(cli(*words, "--force", "--json").out)["weights_hash"] == pulled.weights_hash


def test_configurations_of_both_kinds_are_the_same_plain_data() -> None:
    before = "transformer_lens" in sys.modules
    fields = [read_plain((DATA / kind / "3" / CONFIG).read_bytes()) for kind in ("dict_cfg", "object_cfg")]
    assert fields[0] == fields[1] and fields[0]["dtype"] == "torch.float32"
    assert type(fields[0]["initializer_range"]) is float and fields[0]["initializer_range"] == 0.8 / 13**0.5
    assert ("transformer_lens" in sys.modules) == before, "the object's class is not imported"


def test_the_truth_is_where_the_subject_computes(hub: Hub) -> None:
    """The published file names the reference's head 0 of case 3; the subject's is head 2."""
    subject = read_published(DATA / "dict_cfg" / "3", ib.load_case("3"), {})
    graph, data = subject.model.graph, fresh_data(subject.case, 2000, seed=0)
    answer = subject.case.reference().outputs(data.clean)
    replaced = torch.zeros(2, graph.n_edges)
    replaced[0, graph.edges_from("a1.h0")] = replaced[1, graph.edges_from("a1.h2")] = 1
    silent, used = agreement(subject.model, data, replaced, answer).tolist()
    assert silent > 0.95 and used < 0.5


def test_it_is_converted_once(cli: Callable, hub: Hub) -> None:
    assert pull(cli, "3").status == 0
    folder = zoo.stored_folder(ib.load_case("3"), "hub")
    before, hub.asked = (folder / "weights.safetensors").stat().st_mtime_ns, []
    assert json.loads(pull(cli, "3", "--json").out)["cases"] == [{"case": "3", "state": "there already"}]
    assert hub.asked == [], "a commit that has been converted needs no hub"
    assert pull(cli, "3", "--revision", "main").status == 0
    assert (folder / "weights.safetensors").stat().st_mtime_ns == before and len(hub.asked) == 1

    hub.commit = "b" * 40
    assert json.loads(pull(cli, "3", "--revision", "main", "--json").out)["cases"][0]["state"] == "converted"
    assert ib.load_subject("3", "hub").card["source"]["commit"] == "b" * 40
    (folder / "card.json").write_text("{")
    assert json.loads(pull(cli, "3", "--revision", "main", "--json").out)["cases"][0]["state"] == "converted"


def test_all_that_the_repository_holds(cli: Callable, hub: Hub) -> None:
    """A case that fails is told, the others are converted; what is no case of ours is left alone."""
    theirs = {name.removeprefix("3/"): content for name, content in hub.files.items()}
    hub.files |= {f"{case}/{name}": content for case in ("4", "nobody") for name, content in theirs.items()}
    ended = pull(cli, "--json")
    rows = json.loads(ended.out)["cases"]
    assert ended.status == 1 and [(row["case"], row["state"]) for row in rows] == [("3", "converted"), ("4", "failed")]
    assert "the case needs" in rows[1]["error"] or "tokens" in rows[1]["error"]
    ended = pull(cli)
    assert ended.status == 1 and ended.err.splitlines()[2].startswith("case 4 failed: ") and ended.err.count("\n") == 3
    assert not any("nobody" in path for path in hub.asked)


def test_several_processes_at_once(hub: Hub, tmp_path: Path) -> None:
    """Through the environment alone: endpoint, caches, offline."""
    environment = os.environ | {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "home"),
        "INTERPBENCH_CACHE": str(tmp_path / "cache"),
    }

    def start(**more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "interpbench", "hub", "pull", "3", "--repo", REPO, "--json"]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
        return subprocess.Popen(command, env=environment | more, **pipes)

    running = [start() for _ in range(2)]
    said = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    states = [json.loads(out)["cases"][0]["state"] for out, _ in said]
    assert sorted(states) == ["converted", "there already"] and [err for _, err in said] == ["", ""]
    assert ib.load_subject("3", "hub").circuit.edges == TRUE
    assert list((tmp_path / "home" / "hub").glob("models--*")), "HF_HOME says where files are fetched to"

    shutil.rmtree(tmp_path / "cache")
    hub.asked.clear()
    offline = start(HF_HUB_OFFLINE="1")
    out, err = offline.communicate()
    assert offline.returncode == 0 and json.loads(out)["cases"][0]["state"] == "converted" and hub.asked == [], err
    elsewhere = start(HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "nothing"), INTERPBENCH_CACHE=str(tmp_path / "no"))
    out, err = elsewhere.communicate()
    assert elsewhere.returncode == 1 and err.count("\n") == 1 and "HF_HUB_OFFLINE is set" in err and out == ""


# What goes wrong on the way


def test_no_network(cli: Callable, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(monkeypatch, "http://127.0.0.1:9")
    assert_one_line(pull(cli, "3"), 1, "http://127.0.0.1:9 cannot be reached")
    assert_one_line(pull(cli), 1, "name the cases")


def test_what_the_cache_of_the_hub_holds_needs_no_network(
    cli: Callable, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert pull(cli, "3").status == 0
    shutil.rmtree(tmp_path / "cache")
    point_at(monkeypatch, "http://127.0.0.1:9")
    assert pull(cli, "3").status == 0 and ib.load_subject("3", "hub").circuit.edges == TRUE


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (("3", "--repo", "someone/else"), 1, "no such repository"),
        (("3", "--repo", "../../x"), 2, "not a valid name of a repository"),
        (("3", "--repo", REPO, "--revision", "c" * 40), 1, f"no revision {'c' * 40}"),
        (("4", "--repo", REPO), 1, "has no 4/"),
        (("33x", "--repo", REPO), 2, "did you mean '33'?"),
    ],
)
def test_what_is_not_there(cli: Callable, hub: Hub, tmp_path: Path, words: Any, status: int, why: str) -> None:
    assert_one_line(cli("hub", "pull", *words), status, why)
    assert not (tmp_path / "cache" / "hub" / "3").exists()


@pytest.mark.parametrize("status", [401, 403, 500])
def test_what_the_hub_refuses(cli: Callable, hub: Hub, status: int) -> None:
    hub.status = status
    assert_one_line(pull(cli, "3"), 1, f"the hub answers {status}")


def test_a_hub_that_names_places_of_ours(cli: Callable, hub: Hub, tmp_path: Path) -> None:
    """Names of files, and the commit that becomes a folder of the cache."""
    hub.files |= {"3/../../evil": b"x", "../evil": b"x", "/evil": b"x"}
    hub.commit = "../../../../evil"
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    ended = pull(cli, "3", "--revision", "main")
    assert ended.status == 1 and ended.err.count("\n") == 1, ended
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - before <= set((tmp_path / "hf").rglob("*"))
    assert not list(tmp_path.rglob("evil*"))


# Using it


def test_it_is_listed_shown_run_and_verified(
    cli: Callable, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    case = ib.load_case("3")
    assert "hub" not in zoo.models(case)
    assert_one_line(cli("run", "eap", "--case", "3", "--model", "hub"), 2, "`interpbench hub pull 3` fetches it")
    assert pull(cli, "3").status == 0
    rows = json.loads(cli("list", "models", "--json").out)["models"]
    (row,) = [row for row in rows if (row["case"], row["model"]) == ("3", "hub")]
    assert row["certified"] is None
    shown = json.loads(cli("show", "3", "--model", "hub", "--json").out)
    assert set(shown["circuit"]["edges"]) == TRUE == set(shown["published_circuit"]["edges"])
    assert shown["card"]["certificate"] is None and "hub" in shown["models"]
    assert "not certified" in cli("show", "3", "--model", "hub").out
    words = ("run", "eap", "--case", "3", "--model", "hub", "--samples", "50", "--out", tmp_path / "runs")
    record = json.loads(cli(*words, "--json").out)
    assert record["model"] == "hub" and record["certified"] is None
    assert "not certified" in cli(*words).out
    assert cli("try", "3", "x", "a", "--model", "hub", "--json").status == 0
    monkeypatch.setattr(certificate, "certify", functools.partial(certificate.certify, rows=200))
    ended = cli("verify", "3", "--model", "hub", "--json")
    told = json.loads(ended.out)["certificate"]
    assert ended.status == 1 and told["accuracy"] > 0.99 and told["edges"] < 0.9 and not told["certified"]


def test_what_is_pulled_is_listed_without_anything_heavy(cli: Callable, hub: Hub, tmp_path: Path) -> None:
    assert pull(cli, "3").status == 0
    code = (
        "import sys; from interpbench.cli import main\ntry: main()\n"
        "finally: print(*{'torch', 'numpy', 'huggingface_hub', 'filelock'} & sys.modules.keys(), file=sys.stderr)"
    )

    def heavy(*words: str) -> str:
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0 and done.stdout
        return done.stderr.strip()

    assert heavy("list", "models") == heavy("list", "cases", "--format", "csv") == heavy("hub", "pull", "--help") == ""
    assert heavy("show", "3", "--model", "hub") == "numpy"


@pytest.mark.parametrize("stored", [{"attn_scale": 8.0}, {"use_attn_scale": False}, {"attn_scale": -1.0}, {}])
def test_shape_scale_norm_and_activation_are_the_stored_ones(tmp_path: Path, stored: dict[str, Any]) -> None:
    """A subject that knows more words than the case (GPT-2's, as the published ioi) keeps those of the case."""
    case = replace(ib.load_case("ioi").published_form, published_ids=tuple(range(207, -9, -2)))
    model = write_published_ioi(tmp_path, 300, stored)
    subject = read_published(tmp_path, case, {})
    assert case.published_ids is not None
    theirs = torch.tensor(case.published_ids)
    ours = torch.tensor(case.inputs(8, np.random.default_rng(0)))
    expected = model(theirs[ours])[..., theirs]
    assert torch.allclose(subject.model(ours), expected, atol=1e-5)
    shape = subject.model.config
    assert shape.attn_scale == model.config.attn_scale and shape.normalization_type == "LNPre"
    assert subject.classes == case.tokens
    assert subject.circuit.edges == {"embed->m0", "pos->m0", "m0->logits"}


@pytest.mark.parametrize("name", ["ioi", "ioi_next_token"])
def test_every_token_has_an_id_of_its_own_in_gpt2(name: str) -> None:
    case = ib.load_case(name).published_form
    assert case.published_ids is not None
    ids = dict(zip(case.tokens, case.published_ids, strict=True))
    assert len(set(case.published_ids)) == len(ids) and max(case.published_ids) == ids["BOS"] == 50256
    assert (ids[","], ids["."], ids["the"], ids["Mary"], ids["When"]) == (11, 13, 262, 5335, 2215)


@pytest.mark.slow
def test_a_published_ioi_is_about_the_published_form(
    cli: Callable, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the sentences it was trained on, whose names stand still, wherever a subject is named."""
    case, folder = ib.load_case("ioi"), tmp_path / "ioi"
    folder.mkdir()
    write_published_ioi(folder, 50257, {})
    hub.files = {f"ioi/{path.name}": path.read_bytes() for path in folder.iterdir()} | {"ioi/meta.json": b"{}"}
    assert pull(cli, "ioi").status == 0 and cli("hub", "convert", folder, "--out", tmp_path / "own").status == 0
    for model in ("hub", tmp_path / "own"):
        subject = ib.load_subject("ioi", model)
        assert subject.case is case.published_form is not case
        assert subject.card["program_digest"] == subject.case.reference().digest != case.reference().digest
        sentence = "When Mary and John got a ring at the park , John gave it to"
        assert len(subject.predict([sentence.split()])[0]) == 15
        assert cli("try", "ioi", *sentence.split(), "--model", model).status == 0
    shown = json.loads(cli("show", "ioi", "--model", "hub", "--json").out)
    assert (shown["n_ctx"], shown["circuit_size"]) == (16, 18)
    assert cli("try", "ioi", *"Tom gladly gave it to Kim".split(), "--model", "hub").err.count("gladly") == 1
    words = ("run", "eap", "--case", "ioi", "--model", "hub", "--samples", "20", "--protocol", "paper", "--json")
    record = json.loads(cli(*words, "--out", tmp_path / "runs").out)
    assert record["program_digest"] == case.published_form.reference().digest
    monkeypatch.setattr(certificate, "certify", functools.partial(certificate.certify, rows=50))
    assert json.loads(cli("verify", "ioi", "--model", "hub", "--json").out)["certificate"]["accuracy"] < 0.5


def write_published_ioi(folder: Path, words: int, stored: dict[str, Any]) -> Transformer:
    """A folder of a small model that knows so many words; `stored` is what its configuration says besides."""
    config = Config(
        *(6, 4, 8, 2, 16, 20, words, words),
        act_fn="gelu_new",
        attention_dir="causal",
        normalization_type="LNPre",
        attn_scale={8.0: 8.0, -1.0: 0.0}[stored.get("attn_scale", -1.0)] if stored.get("use_attn_scale", True) else 1.0,
    )
    model = initialize(config, seed=0)
    names = "n_layers n_heads d_model d_head d_mlp n_ctx d_vocab d_vocab_out act_fn attention_dir normalization_type"
    fields = {name: getattr(config, name) for name in names.split()} | stored | {"eps": 1e-5}
    mlp = "blocks.0.hook_mlp_out"
    edges = [("blocks.0.hook_resid_pre", mlp), (mlp, "blocks.5.hook_resid_post")]
    write_published(folder, dict(model.weights), fields, edges)
    return model


def write_published(folder: Path, weights: dict[str, Any], fields: dict[str, Any], edges: list[Any]) -> None:
    torch.save(weights, folder / WEIGHTS)
    (folder / CONFIG).write_bytes(pickle.dumps(fields))
    (folder / "edges.pkl").write_bytes(pickle.dumps(edges))


# Edges


@pytest.mark.parametrize("name", sorted(HOOKS, key=int))
def test_published_edges_are_the_ones_we_know(name: str) -> None:
    """Hook names of a reference and of its subject, against the same circuits in our names."""
    known = PUBLISHED[name]
    reference, subject = (Graph(known[who]["n_layers"], known[who]["n_heads"]) for who in ("reference", "subject"))
    assert parse_edges(HOOKS[name]["edges"], reference, Alignment()).edges == set(known["reference_edges"])
    carried = parse_edges(HOOKS[name]["edges"], subject, Alignment({"a1.h0": "a1.h2"} if name == "3" else {}))
    assert carried.heads().edges == set(known["subject_heads"])
    assert parse_edges(HOOKS[name]["subject_heads"], subject, Alignment()).heads().edges == set(known["subject_heads"])


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        (("hook_embed", "hook_pos_embed"), "no edge from"),
        (("blocks.1.hook_q_input[0]", "blocks.1.hook_mlp_in"), "no edge from"),
        (("blocks.1.hook_mlp_out", "blocks.0.hook_mlp_in"), "no edge 'm1->m0'"),
        (("hook_embed", "blocks.9.hook_mlp_in"), "no edge 'embed->m9'"),
        (("hook_embed", "blocks.1.hook_q_input[7]"), "no edge 'embed->a1.h7<q>'"),
        (("hook_embed", "blocks.2.hook_resid_post"), "no hook 'blocks.2.hook_resid_post'"),
        (("blocks.1.hook_resid_pre", "blocks.1.hook_mlp_in"), "no hook 'blocks.1.hook_resid_pre'"),
        (("hook_embed[0]", "blocks.0.hook_mlp_in"), "no hook"),
        (("hook_embed", "blocks.0.hook_mlp_in\n"), "no hook"),
        (("hook_embed", "blocks.٣.hook_mlp_in"), "no hook"),
        (("hook_embed", "__import__('os')"), "no hook"),
        (("hook_embed",), "not a pair"),
        (("hook_embed", 3), "not a pair"),
        ("hook_embed->m0", "not a pair"),
    ],
)
def test_other_edges_are_refused(pair: Any, why: str) -> None:
    with pytest.raises(ValueError, match=".") as error:
        parse_edges([("hook_embed", "blocks.0.hook_mlp_in"), pair], Graph(2, 4), Alignment())
    assert why in str(error.value) and "\n" not in str(error.value)
    for nothing in ([], {}, None, "edges"):
        with pytest.raises(ValueError, match="expected a list of edges"):
            parse_edges(nothing, Graph(2, 4), Alignment())


# Publishing


def test_a_subject_is_published(cli: Callable, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    folder = zoo.ZOO / "18" / "siit"
    ended = cli("hub", "push", folder, REPO, "--json")
    assert ended.status == 0, ended.err
    assert json.loads(ended.out)["commit"] == f"{hub.address}/{REPO}/commit/1"
    names = {"weights.safetensors", "circuit.json", "card.json", "README.md", "cases.csv", "croissant.json"}
    assert hub.pushed.keys() == names
    for name, content in hub.pushed.items():
        (tmp_path / name).write_bytes(content)
    assert ib.load_subject("18", tmp_path).weights_hash == ib.load_subject("18").weights_hash

    card = huggingface_hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "mit" and card.data.library_name == "interpbench"
    told = ib.load_subject("18").card["certificate"]
    asked = [f"| {each.replaced} | {each.by} | {each.threshold:.3f} | {each.share:.3f} |" for each in demands(told)]
    for line in (*asked, f"| accuracy | {told['accuracy']:.3f} |", "m1->logits", ib.load_case("18").description):
        assert line in card.text
    assert f"hf download {REPO}" in card.text and "--case 18" in card.text

    hub.files = {"README.md": b"theirs"}
    assert_one_line(cli("hub", "push", folder, REPO), 2, "holds README.md; --force")
    assert cli("hub", "push", folder, REPO, "--force").status == 0


def test_nothing_is_published_without_rights_or_of_damage(
    cli: Callable, hub: Hub, monkeypatch: pytest.MonkeyPatch, subject_folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert_one_line(cli("hub", "push", subject_folder, REPO), 1, "hf auth login")
    broken = shutil.copytree(subject_folder, tmp_path / "broken")
    (broken / "circuit.json").write_text("{}")
    monkeypatch.setenv("HF_TOKEN", "secret")
    hub.asked.clear()
    assert_one_line(cli("hub", "push", broken, REPO), 1, "circuit.json: not a circuit")
    assert_one_line(cli("hub", "push", tmp_path / "nowhere", REPO), 2, "no folder")
    assert hub.asked == [] and hub.pushed == {}


def test_the_page_of_a_published_subject_says_what_it_is_not(cli: Callable, hub: Hub) -> None:
    from interpbench.hub.model_card import model_card

    text = model_card(read_published(DATA / "dict_cfg" / "3", ib.load_case("3"), {"commit": COMMIT}), REPO)
    assert "license: cc-by-4.0" in text and UNCERTIFIED in text and "Converted from" in text


# The benchmark's metadata


def test_cases_as_csv(cli: Callable) -> None:
    rows = list(csv.DictReader(io.StringIO(cli("list", "cases", "--format", "csv").out)))
    listed = json.loads(cli("list", "cases", "--format", "json").out)["cases"]
    assert cli("list", "cases", "--json").out == cli("list", "cases", "--format", "json").out
    assert [row["name"] for row in rows] == [row["name"] for row in listed]
    three = next(row for row in rows if row["name"] == "3")
    assert set(json.loads(three["circuit"])) == TRUE and int(three["circuit_size"]) == 5
    assert three["certified"] == str(Headline.of_card(ib.load_subject("3").card).certified)
    assert {row["name"] for row in rows if row["certified"] == "True"} == {
        case.name for case in suite_cases("certified", load())
    }
    assert json.loads(three["vocab"]) == ["a", "b", "c", "x"]


def test_cases_as_croissant(cli: Callable) -> None:
    data = json.loads(cli("list", "cases", "--format", "croissant").out)
    text = cli("list", "cases", "--format", "csv").out.encode()
    (file,), (records,) = data["distribution"], data["recordSet"]
    assert file["sha256"] == hashlib.sha256(text).hexdigest() and file["contentSize"] == f"{len(text)} B"
    header = text.decode().splitlines()[0].split(",")
    assert [field["source"]["extract"]["column"] for field in records["field"]] == header
    assert {field["source"]["fileObject"]["@id"] for field in records["field"]} == {file["@id"]}
    kinds = {field["name"]: field["dataType"] for field in records["field"]}
    for row in csv.DictReader(io.StringIO(text.decode())):
        for name, value in row.items():
            assert kinds[name] == "sc:Text" or value in ("True", "False") or value.isdigit()
    assert data["@type"] == "sc:Dataset" and data["conformsTo"].endswith("croissant/1.0")
    assert {column.name for column in metadata.COLUMNS} == set(header)


@pytest.mark.parametrize(
    "error",
    [ImportError("Using SOCKS proxy, but"), ValueError("Unknown scheme"), KeyError("x"), PermissionError(13, "no")],
)
def test_whatever_the_client_raises_is_one_line(error: Exception) -> None:
    with pytest.raises(InterpbenchError) as told, hub_errors("a/b"):
        raise error
    assert str(told.value).startswith("a/b: ") and "\n" not in str(told.value)
    with pytest.raises(UsageError, match="^ours$"), hub_errors("a/b"):
        raise UsageError("ours")


def test_a_proxy_that_the_client_cannot_use_is_one_line(process: Callable, tmp_path: Path) -> None:
    """In a process of its own: the client reads the environment once."""
    local = {"HF_HOME": str(tmp_path), "INTERPBENCH_CACHE": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    ended = process("hub", "pull", "3", cwd=tmp_path, **local, ALL_PROXY="socks5://localhost:1")
    assert ended.status == 1 and ended.err.startswith("error: ") and ended.err.count("\n") == 1
