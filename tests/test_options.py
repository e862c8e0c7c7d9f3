"""A dataclass as options and as keyword arguments."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from interpbench.errors import UsageError
from interpbench.plugins import registry
from interpbench.plugins.options import arguments, make_config, with_options


def option(default: Any, text: str = "", **more: Any) -> Any:
    return field(default=default, metadata={"help": text, **more})


@dataclass(frozen=True)
class Config:
    steps: int = option(10, "How many steps.")
    lambda_: float = option(0.5, "Weight of the size.")
    signed: bool = option(True)
    loss: Literal["kl", "mse"] = option("kl")
    tau: tuple[float, ...] = option((0.1, 1.0), "Thresholds.")
    parts: tuple[Literal["a", "b"], ...] = option(("a",))
    limit: int | None = option(None)
    share: float = option(0.1, "A share.", least=0, most=1)
    sizes: tuple[int, ...] = option((1,), "Sizes.", least=1)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, expected at least 1")


SEEN: list[tuple[Any, Any]] = []


def base(name: str, config: Any, case: str = "3") -> None:
    SEEN.append((config, case))


def run(*words: str, config: type = Config) -> Any:
    app = typer.Typer()
    app.command()(with_options(functools.partial(base, "mine"), config, "mine"))
    SEEN.clear()
    return CliRunner().invoke(app, [*words])


def test_defaults_are_the_dataclass_own() -> None:
    assert run().exit_code == 0
    assert [(Config(), "3")] == SEEN


@pytest.mark.parametrize(
    ("words", "config"),
    [
        (["--steps", "3"], Config(steps=3)),
        (["--lambda", "2"], Config(lambda_=2.0)),
        (["--no-signed"], Config(signed=False)),
        (["--loss", "mse"], Config(loss="mse")),
        (["--tau", "1e-3, 2,3"], Config(tau=(0.001, 2.0, 3.0))),
        (["--parts", "a,b"], Config(parts=("a", "b"))),
        (["--limit", "7"], Config(limit=7)),
        ([], Config()),
        (["--steps", "4", "--no-signed", "--tau", "1.0"], Config(steps=4, signed=False, tau=(1.0,))),
    ],
)
def test_options_set_fields_and_back(words: list[str], config: Config) -> None:
    assert run(*words, "--case", "7").exit_code == 0
    assert [(config, "7")] == SEEN
    assert run(*arguments(config)).exit_code == 0
    assert [(config, "3")] == SEEN


@pytest.mark.parametrize(
    "words",
    [
        ["--stepz", "3"],
        ["--steps", "many"],
        ["--loss", "ce"],
        ["--tau", "1,x"],
        ["--parts", "a,c"],
    ],
)
def test_what_does_not_fit_is_a_usage_error(words: list[str]) -> None:
    assert run(*words).exit_code == 2
    assert SEEN == []


def test_help_shows_defaults_and_texts() -> None:
    said = run("--help").output
    for text in ("--lambda", "Weight of the size.", "0.5", "--no-signed", "0.1,1.0", "How many steps."):
        assert text in said


def test_keyword_arguments() -> None:
    assert make_config(Config, {"steps": 3, "tau": [1, 2.5], "limit": None, "lambda_": 1}, "mine") == Config(
        steps=3, tau=[1, 2.5], lambda_=1
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"step": 3}, "mine: no option 'step'; did you mean 'steps'?; there are: steps, lambda_"),
        ({"steps": "3"}, "mine: steps is '3', expected int"),
        ({"steps": True}, "expected int"),
        ({"steps": 0}, "mine: steps is 0, expected at least 1"),
        ({"loss": "ce"}, "mine: loss is 'ce', expected one of 'kl', 'mse'"),
        ({"tau": 3.0}, "tau is 3.0"),
        ({"tau": ["x"]}, "tau is"),
        ({"parts": ("c",)}, "parts is"),
        ({"limit": "x"}, "limit is 'x'"),
        ({"signed": 1}, "signed is 1, expected bool"),
        ({"share": -1}, "mine: share is -1, expected at least 0 and at most 1"),
        ({"share": 1.5}, "share is 1.5, expected at least 0 and at most 1"),
        ({"share": float("nan")}, "share is nan"),
        ({"sizes": (1, 0)}, "sizes is 0, expected at least 1"),
    ],
)
def test_wrong_keyword_arguments(options: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError) as error:
        make_config(Config, options, "mine")
    assert why in str(error.value)


@pytest.mark.parametrize("words", [("--share", "-1"), ("--share", "2"), ("--share", "nan"), ("--sizes", "3,0")])
def test_a_number_out_of_bounds_is_refused_on_the_command_line(words: tuple[str, str]) -> None:
    ended = run(*words)
    assert ended.exit_code != 0 and SEEN == []
    assert "not in the range 0<=x<=1" in ended.output or isinstance(ended.exception, UsageError)


def test_a_share_of_the_loss_is_a_share() -> None:
    found = [each for each in registry.load().techniques.values() if hasattr(each.Config(), "faithful")]
    assert {"acdc", "eap", "flow", "hisp", "patching", "ranks", "sp"} <= {each.name for each in found}
    for each in found:
        for share in (-1, 1.1, float("nan")):
            with pytest.raises(UsageError, match="faithful is .*, expected at least 0 and at most 1"):
                make_config(each.Config, {"faithful": share}, each.name)


def test_a_dataclass_that_cannot_be_options_is_refused() -> None:
    @dataclass(frozen=True)
    class Taken:
        case: str = "3"

    @dataclass(frozen=True)
    class Empty:
        steps: int

    for config, why in ((Taken, "option 'case' of mine"), (Empty, "has no default")):
        with pytest.raises(ValueError, match=why):
            with_options(functools.partial(base, "mine"), config, "mine")


def test_the_flags_of_a_switch() -> None:
    """A bool may name its two flags itself; the command of a card is then typed with them."""

    @dataclass(frozen=True)
    class Switch:
        edgewise: bool = field(default=True, metadata={"help": "", "flags": "--edgewise/--nodewise"})
        plain: bool = False

    assert arguments(Switch(edgewise=False, plain=True)) == ["--nodewise", "--plain"]
    assert arguments(Switch()) == []
