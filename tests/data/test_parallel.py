import threading
import time

import pytest

from videogen_cli.data.parallel import in_background, ordered_map


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


def test_background_calls_are_made_in_order_by_one_other_thread():
    calls = []
    with in_background(3) as submit:
        for n in range(20):
            submit(lambda n: calls.append((n, threading.current_thread())), n)
    assert [n for n, _ in calls] == list(range(20))
    assert {thread for _, thread in calls} != {threading.current_thread()} and len({t for _, t in calls}) == 1


def test_only_so_many_background_calls_wait():
    gate, made = threading.Event(), []
    with in_background(2) as submit:
        for n in range(2):
            submit(lambda n: (gate.wait(10), made.append(n)), n)
        threading.Timer(0.05, gate.set).start()
        submit(made.append, 2)
        assert made[:1] == [0], "the third waits for the first"
    assert made == [0, 1, 2]


def test_an_error_in_the_background_is_raised_and_nothing_made_before_is_lost():
    calls = []
    with pytest.raises(ZeroDivisionError), in_background(10) as submit:
        submit(calls.append, 1)
        submit(lambda: 1 // 0)
        submit(calls.append, 2)
    assert calls == [1, 2]
    with pytest.raises(KeyError), in_background(10) as submit:
        submit(lambda: (time.sleep(0.02), calls.append(3)))
        raise KeyError
    assert calls == [1, 2, 3]
