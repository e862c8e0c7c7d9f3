"""A problem in the hands of a technique: what is changed there is noticed, and is not changed here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace

from torch import Tensor

from interpbench.errors import InterpbenchError
from interpbench.problem.problem import Problem


@contextmanager
def lent(problem: Problem, borrower: str) -> Iterator[Problem]:
    """The same problem with tensors of its own.

    Raises InterpbenchError at the end if these are not what they were: what was found is then about another model.
    """
    values = {field.name: getattr(problem, field.name) for field in fields(problem)}
    data = {name: value.clone() for name, value in values.items() if isinstance(value, Tensor)}
    weights = {name: weight.detach().clone() for name, weight in problem.model.weights.items()}
    yield replace(problem, model=replace(problem.model, weights=weights), **data)
    before, after = {**problem.model.weights, **values}, {**weights, **data}
    names = dict.fromkeys([*problem.model.weights, *after])
    changed = [name for name in names if not _same(before.get(name), after.get(name))]
    if changed:
        what = changed[0] + (f" and {len(changed) - 1} more" if changed[1:] else "")
        raise InterpbenchError(f"{borrower} changed its problem ({what}); expected weights and data as they were")


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())
