import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from videogen_cli.data import guarded
from videogen_cli.errors import DataError


def test_the_worker_is_kept_for_the_next_call():
    assert guarded.call("os:getpid", 10) == guarded.call("os:getpid", 10) != os.getpid()


def test_a_call_that_hangs_is_ended():
    begun = time.monotonic()
    with pytest.raises(guarded.Timeout):
        guarded.call("signal:pause", 0.3)
    assert time.monotonic() - begun < 5
    assert guarded.call("os:getpid", 10) > 0


def test_a_crash_is_told_from_a_timeout():
    with pytest.raises(guarded.Crash, match="SIGABRT"):
        guarded.call("os:abort", 10)


def test_a_worker_that_died_between_calls_is_replaced():
    pid = guarded.call("os:getpid", 10)
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    assert guarded.call("os:getpid", 10) != pid


def test_expected_errors_pass_and_bugs_show_where_they_are():
    with pytest.raises(DataError) as caught:
        guarded.call("videogen_cli.data.decoding:decode", 10, path="/nonexistent.mp4")
    assert caught.value.where == "/nonexistent.mp4"
    with pytest.raises(RuntimeError, match="JSONDecodeError"):
        guarded.call("json:loads", 10, s="{")


def test_calls_at_once_do_not_mix_their_answers():
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: guarded.call("builtins:dict", 10, n=n), range(40)))
    assert answers == [{"n": n} for n in range(40)]
