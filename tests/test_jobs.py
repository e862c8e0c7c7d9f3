"""Work in processes of its own."""

import os
import time
from typing import Any

import pytest

from interpbench.errors import UsageError
from interpbench.jobs import Event, one_line, run_jobs


def work(item: str, report: Any) -> str:
    """Does as it is told."""
    report({"on": item})
    if item == "fails":
        raise ValueError("no\nway")
    if item == "asks too much":
        raise UsageError("one line")
    if item == "dies":
        os._exit(9)
    if item == "waits":
        time.sleep(60)
    return item.upper()


def test_everything_ends_and_failures_are_told() -> None:
    items = ["a", "fails", "dies", "asks too much", "b"]
    events = list(run_jobs(work, items, 2))
    ends = {items[event.item]: event for event in events if event.ended}
    assert len(ends) == 5 and (ends["a"].value, ends["b"].value) == ("A", "B")
    assert ends["fails"].error == "ValueError: no way"
    assert ends["asks too much"].error == "one line"
    assert ends["dies"].error == "its process ended with status 9"
    told = {items[event.item]: event.facts for event in events if not event.ended}
    assert told["a"] == {"on": "a"} and len(told) == 5


def test_no_more_at_a_time_than_asked_and_an_early_end_ends_all() -> None:
    running = run_jobs(work, ["waits", "a"], 1)
    assert next(running) == Event(0, facts={"on": "waits"})
    began = time.monotonic()
    running.close()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("error", "text"), [(KeyError("x"), "KeyError: 'x'"), (UsageError("no"), "no")])
def test_errors_are_one_line(error: Exception, text: str) -> None:
    assert one_line(error) == text
