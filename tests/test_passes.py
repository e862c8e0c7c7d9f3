import asyncio
import threading
from contextvars import copy_context

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interpbench.problem import Incremental, choose_top
from interpbench.testing.toys import random_problem
from interpbench.transformer.passes import counting
from interpbench_acdc import Acdc
from interpbench_acdc import Config as AcdcConfig
from interpbench_eap import Config as EapConfig
from interpbench_eap import Eap

ROWS = 12


@pytest.fixture(scope="module")
def problem():
    return random_problem("categorical", 0, rows=ROWS)


def masks_of(problem, count):
    draw = np.random.default_rng(0).random((count, problem.graph.n_edges)) < 0.3
    return torch.tensor(draw).to(problem.full)


def test_a_plain_run_counts_its_rows(problem):
    with counting() as passes:
        problem.model(problem.clean)
        problem.model.writers(problem.clean[:5])
    assert (passes.forward, passes.backward) == (ROWS + 5, 0)


@given(circuits=st.integers(1, 7), rows=st.integers(1, ROWS))
def test_every_circuit_of_a_batch_counts(circuits, rows):
    problem = random_problem("numerical", 1, rows=ROWS).take(slice(rows))
    with counting() as passes:
        problem.logits(masks_of(problem, circuits))
    assert (passes.forward, passes.backward) == (circuits * rows, 0)


def test_chunks_do_not_change_the_count(problem, monkeypatch):
    problem = random_problem("numerical", 2, rows=ROWS)
    masks = masks_of(problem, 6)
    with counting() as whole:
        problem.losses(masks, "mse")
    monkeypatch.setattr("interpbench.problem.problem.CHUNK", 4000)
    with counting() as chunked:
        problem.losses(masks, "mse")
    scored = int(problem.scored.any(1).sum())
    assert whole.forward == 6 * ROWS
    assert 6 * scored <= chunked.forward <= 6 * ROWS, "chunks without a scored position are skipped"


@pytest.mark.parametrize("count", [1, 4])
def test_a_gradient_counts_once_for_every_mask(problem, count):
    with counting() as passes:
        problem.gradients(masks_of(problem, count), "logit-diff")
    assert (passes.forward, passes.backward) == (count * ROWS, count * ROWS)


def test_a_gradient_by_the_mask_itself_counts_each_time_that_it_is_taken(problem):
    mask = masks_of(problem, 1)[0].requires_grad_()
    with counting() as passes:
        loss = problem.loss(problem.logits(mask), "kl")
        assert passes.backward == 0
        torch.autograd.grad(loss, mask, retain_graph=True)
        torch.autograd.grad(loss, mask)
    assert (passes.forward, passes.backward) == (ROWS, 2 * ROWS)


def test_a_gradient_belongs_to_the_block_of_its_forward_pass(problem):
    mask = masks_of(problem, 1)[0].requires_grad_()
    with counting() as first:
        loss = problem.loss(problem.logits(mask), "kl")
    with counting() as second:
        loss.backward()
    assert (first.backward, second.backward, second.forward) == (ROWS, 0, 0)


def test_outer_blocks_count_what_inner_ones_do(problem):
    with counting() as outer:
        problem.model(problem.clean)
        with counting() as inner:
            problem.gradients(masks_of(problem, 1), "kl")
        problem.model(problem.clean)
    assert (inner.forward, inner.backward) == (ROWS, ROWS)
    assert (outer.forward, outer.backward) == (3 * ROWS, ROWS)


def test_a_block_ends_with_an_exception(problem):
    with counting() as outer:
        with pytest.raises(RuntimeError, match="inside"), counting() as inner:
            problem.model(problem.clean)
            raise RuntimeError("inside")
        problem.model(problem.clean)
    problem.model(problem.clean)
    assert (inner.forward, outer.forward) == (ROWS, 2 * ROWS)


def test_a_run_that_is_refused_counts_nothing(problem):
    with counting() as passes, pytest.raises(ValueError, match="positions"):
        problem.model(torch.zeros(3, 99, dtype=torch.long))
    assert passes.forward == 0


def test_other_threads_count_for_themselves(problem):
    found = {}

    def work(rows):
        with counting() as passes:
            for _ in range(5):
                problem.model(problem.clean[:rows])
        found[rows] = passes.forward

    with counting() as here:
        threads = [threading.Thread(target=work, args=(rows,)) for rows in (1, 2, 3)]
        inside = threading.Thread(target=copy_context().run, args=(problem.model, problem.clean))
        for thread in (*threads, inside):
            thread.start()
        for thread in (*threads, inside):
            thread.join()
    assert found == {1: 5, 2: 10, 3: 15}
    assert here.forward == ROWS, "only the thread that runs in a copy of the context"


def test_tasks_count_for_themselves(problem):
    async def work(rows):
        with counting() as passes:
            await asyncio.sleep(0)
            problem.model(problem.clean[:rows])
            await asyncio.sleep(0)
        return passes.forward

    async def both():
        return await asyncio.gather(work(1), work(4))

    assert asyncio.run(both()) == [1, 4]


def test_an_attempt_counts_as_a_whole_pass(problem):
    with counting() as starting:
        state = Incremental(problem, "kl")
    with counting() as passes:
        for edge in range(problem.graph.n_edges - 3, problem.graph.n_edges):
            state.attempt(edge)
    assert (starting.forward, passes.forward, passes.backward) == (ROWS, 3 * ROWS, 0)


def test_eap_takes_one_pass_each_way_and_chooses():
    problem = random_problem("categorical", 3, rows=ROWS)
    with counting() as passes:
        found = Eap().discover(problem, EapConfig())
    with counting() as choosing:
        choose_top(problem, found.scores, EapConfig().faithful)
    assert choosing.forward > 0
    assert (passes.forward - choosing.forward, passes.backward) == (ROWS, ROWS)


def test_acdc_takes_a_pass_for_every_test():
    problem = random_problem("categorical", 4, rows=ROWS)
    with counting() as passes:
        found = Acdc().discover(problem, AcdcConfig(tau=(1e-2,)))
    choosing = 2  # its circuit, and everything cut
    assert passes.forward == (1 + found.notes["tests"] + choosing) * ROWS and passes.backward == 0


def test_nothing_is_left_behind_where_nobody_counts(problem):
    mask = masks_of(problem, 1)[0].requires_grad_()
    assert not problem.logits(mask)._backward_hooks
    with counting():
        assert problem.logits(mask)._backward_hooks
    assert not problem.logits(mask)._backward_hooks
