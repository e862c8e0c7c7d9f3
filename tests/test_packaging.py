"""The five distributions: one version, complete wheels, an installation from nothing."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from interpbench.plugins.contract import PUBLIC_MODULES, breaches, uses
from interpbench.properties.generated import property_of

ROOT = Path(__file__).parent.parent
PROJECTS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
PLUGINS = [*PROJECTS[1:], *sorted((ROOT / "interpbench" / "scaffold").iterdir())]
PLUGINS += [ROOT / "tests" / "plugin_package", ROOT / "tests" / "tensorboard_plugin"]
CONSTRAINTS = ROOT / "constraints.txt"
NAMES = ["interpbench", "interpbench-acdc", "interpbench-baselines", "interpbench-eap", "interpbench-sp"]


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All five, built; the source tree stays as it was."""
    out = tmp_path_factory.mktemp("wheels")
    for folder in PROJECTS:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
        subprocess.run(build, cwd=folder, check=True, capture_output=True)
    return {path.name.split("-")[0].replace("_", "-"): path for path in out.glob("*.whl")}


def test_one_version() -> None:
    assert [project(folder)["name"] for folder in PROJECTS] == NAMES
    (version,) = {project(folder)["version"] for folder in PROJECTS}
    for folder in PROJECTS[1:]:
        assert f"interpbench=={version}" in project(folder)["dependencies"]


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_plugins_use_public_names_only(folder: Path) -> None:
    files = list(folder.glob("**/*.py"))
    trees = {str(path): ast.parse(path.read_text()) for path in files}
    assert {name: found for name, tree in trees.items() if (found := breaches(tree))} == {}
    assert ("interpbench", "hookimpl") in {use for tree in trees.values() for use in uses(tree)}


def test_public_names_are_there() -> None:
    for module in map(importlib.import_module, PUBLIC_MODULES):
        assert all(hasattr(module, name) for name in module.__all__) and len(set(module.__all__)) == len(module.__all__)


def test_every_distribution_has_what_a_stranger_looks_for() -> None:
    for folder in PROJECTS:
        facts = project(folder)
        assert facts["license"] == "MIT" and facts["requires-python"] == ">=3.11"
        assert (folder / facts["readme"]).stat().st_size > 100
        assert list(folder.glob("tests/test_*.py"))


def test_constraints_name_what_we_depend_on() -> None:
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in CONSTRAINTS.read_text().splitlines()}
    facts = project(ROOT)
    wanted = [*facts["dependencies"], *(name for extra in facts["optional-dependencies"].values() for name in extra)]
    names = {re.split(r"[<>=\[]", name)[0] for name in wanted} - {"interpbench"}
    assert names <= pinned
    assert "+" not in CONSTRAINTS.read_text()


def test_wheels_are_complete(wheels: dict[str, Path]) -> None:
    assert sorted(wheels) == NAMES
    for name, path in wheels.items():
        files = set(zipfile.ZipFile(path).namelist())
        package = name.replace("-", "_")
        assert {f"{package}/__init__.py", f"{package}/py.typed"} <= files
        assert not any("test_" in file or "__pycache__" in file for file in files if "/scaffold/" not in file)
    files = set(zipfile.ZipFile(wheels["interpbench"]).namelist())
    sources = [path for path in (ROOT / "interpbench").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {str(path.relative_to(ROOT)) for path in sources} <= files
    assert any(file.endswith("LICENSE") for file in files)


def test_the_zoo_is_small() -> None:
    """The catalogue's subjects, and those of generated cases."""
    sizes = {path: path.stat().st_size for path in (ROOT / "interpbench" / "zoo").rglob("*.safetensors")}
    generated = {path for path in sizes if property_of(path.parents[1].name)}
    assert sum(sizes[path] for path in sizes.keys() - generated) < 25_000_000
    assert sum(sizes[path] for path in generated) < 15_000_000


def test_the_image_is_of_the_tested_versions() -> None:
    """No engine is needed for that: Python, PyTorch, and that what is copied and installed is there."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    (python,) = re.findall(r"on Python ([\d.]+)\.", CONSTRAINTS.read_text())
    assert {line.split()[1] for line in lines if line.startswith("FROM")} == {f"python:{python}-slim"}
    (torch,) = [line for line in lines if "--torch-backend=cpu" in line]
    (command,) = re.findall(r"\$\((.*)\)", torch)
    told = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"torch==[\d.]+\n", told) and told.strip() in CONSTRAINTS.read_text().splitlines()
    (ours,) = [line.split("constraints.txt ")[1].split() for line in lines if "-c constraints.txt" in line]
    assert sorted(project(ROOT / folder)["name"] for folder in ours) == NAMES
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    needed = {"constraints.txt", "pyproject.toml", project(ROOT)["readme"], *project(ROOT)["license-files"]}
    assert kept == needed | {"interpbench", "plugins"} and all((ROOT / name).exists() for name in kept)
    steps = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert steps.index("USER") < steps.index("ENTRYPOINT") and "USER interpbench" in lines


@pytest.mark.slow
def test_wheels_install_into_an_empty_environment(wheels: dict[str, Path], tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    install += ["-c", CONSTRAINTS]
    (torch,) = re.findall(r"^torch==.*$", CONSTRAINTS.read_text(), flags=re.MULTILINE)
    subprocess.run([*install, torch], check=True)
    subprocess.run([*install, *wheels.values()], check=True)
    command = tmp_path / "venv" / "bin" / "interpbench"

    def run(*words: str) -> Any:
        done = subprocess.run([command, *words, "--json"], cwd=tmp_path, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    rows = run("plugins")["plugins"]
    assert {row["distribution"] for row in rows} == set(NAMES) and not any(row["error"] for row in rows)
    for kind in ("technique", "trainer"):
        package = Path(run("plugins", "new", f"my_{kind}", f"--{kind}")["folder"])
        subprocess.run([*install, f"{package}[test]"], check=True)
        subprocess.run([python, "-m", "pytest", "-q", package], cwd=tmp_path, check=True)
    for technique in ("eap", "acdc", "sp", "patching", "my_technique"):
        assert run("run", technique, "--case", "3", "--samples", "50")["metrics"]["heads"]["auroc"] > 0.5
    for file in (ROOT / "tests" / "data").glob("eap_ig_case_3.*"):
        assert run("score", str(file), "--case", "3")["metrics"]["heads"]["auroc"] > 0.5
    told = run("bench", "--case", "3,4", "--techniques", "eap,my_technique", "--samples", "50")
    assert told["common"] == ["3", "4"] and not told["failures"]
    assert run("report", "runs")["metric"] == "heads.identifiable.auroc" and run("show", "3")["model"] == "siit"
    page = subprocess.run(
        [command, "report", "runs", "--out", "page.html"], cwd=tmp_path, capture_output=True, text=True
    )
    assert page.returncode == 2 and "pip install 'interpbench[plot]'" in page.stderr and page.stderr.count("\n") == 1
