"""Kernels whose rows are shared among threads."""

from typing import Any

import numba
import numpy as np
import pytest
import torch

from neuro.kernels import compiled
from neuro.kernels.team import spread

Array = np.ndarray[Any, Any]


@numba.njit(nogil=True)
def _visit(visits: Array, first: int, last: int, parallel: int, threads: int) -> int:
    if threads > 1:
        return spread(parallel, threads)
    for row in range(first, last):
        visits[row] += 1
    return last - first


@numba.njit(nogil=True)
def _number_shares(shares: Array, first: int, last: int, parallel: int, threads: int) -> None:
    if threads > 1:
        spread(parallel, threads)
        return
    shares[first:last] = first


@pytest.fixture(params=["OpenMP", "pool"])
def many_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Small work is shared too, on torch's own runtime or on threads of one's own."""
    if request.param == "OpenMP" and not compiled._parallel():
        pytest.skip("torch's OpenMP is not GNU's here")
    if request.param == "pool":
        monkeypatch.setattr(compiled, "_parallel", lambda: 0)
    monkeypatch.setattr(compiled, "_SMALLEST_SHARE", 1)
    monkeypatch.setattr(compiled, "_SMALLEST_SHARE_OF_POOL", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    return 6 if request.param == "OpenMP" else 3


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 6, 7, 1009])
def test_every_row_is_visited_once_and_results_are_added(many_threads: int, rows: int) -> None:
    visits = np.zeros(rows, np.int64)
    assert compiled.share_out(_visit, (visits,), rows, max(rows, 1)) == rows
    assert (visits == 1).all()


def test_shares_are_equal_and_one_for_each_thread(many_threads: int) -> None:
    rows = 5 * many_threads
    shares = np.zeros(rows, np.int64)
    assert compiled.share_out(_number_shares, (shares,), rows, rows) == 0
    assert shares.tolist() == [row // 5 * 5 for row in range(rows)]


def test_small_work_stays_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    shares = np.full(12, -1)
    compiled.share_out(_number_shares, (shares,), 12, 12)
    assert (shares == 0).all()
