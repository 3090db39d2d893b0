import time

import pytest

from videogen_cli.data.parallel import ordered_map


@pytest.mark.parametrize("workers", [0, 1, 3, 8])
def test_results_come_in_order(workers):
    def slow_for_even(n):
        time.sleep(0.002 * (n % 2 == 0))
        return n * n

    assert list(ordered_map(slow_for_even, range(50), workers)) == [n * n for n in range(50)]


@pytest.mark.parametrize("workers", [1, 4])
def test_an_error_comes_in_its_turn(workers):
    results = ordered_map(lambda n: 10 // (3 - n), range(100), workers)
    assert [next(results) for _ in range(3)] == [3, 5, 10]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_not_everything_is_taken_at_once():
    taken = []
    results = ordered_map(lambda n: n, (taken.append(n) or n for n in range(1000)), 2)
    next(results)
    assert len(taken) < 20
