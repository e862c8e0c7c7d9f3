"""For tests of the conformance kit: templates of plugins, as they are or with something wrong, and what then fails."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, ...]]:
    """What the checks of a kind take, from the template of the kind with something in a file written differently."""

    def load(kind: str, file: str = "__init__.py", old: str = "", new: str = "") -> tuple[Any, ...]:
        from interpbench.plugins.scaffold import write

        name = f"t{abs(hash((tmp_path, file, old, new)))}"
        inside = write(name, kind, tmp_path) / f"interpbench_{name}"
        text = (inside / file).read_text()
        assert old in text, f"the template has no {old!r}"
        (inside / file).write_text(text.replace(old, new) if old else text)
        monkeypatch.syspath_prepend(inside.parent)
        module = importlib.import_module(inside.name)
        (thing,) = getattr(module, f"interpbench_{kind}s")()
        return (thing, module.Config(steps=4, rows=8, keep_every=2)) if kind == "trainer" else (thing,)

    return load


@pytest.fixture
def failing() -> Callable[..., set[str]]:
    """Names of the checks that fail on something."""
    from interpbench.torch_state import clean_state

    def run(checks: Iterable[Callable[..., None]], *arguments: Any) -> set[str]:
        failed = set()
        for check in checks:
            with clean_state():
                try:
                    check(*arguments)
                except AssertionError as error:
                    assert str(error), f"{check.__name__} does not say what was expected"
                    failed.add(check.__name__)
        return failed

    return run
