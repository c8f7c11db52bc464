import signal
import sys
import time
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from fftune.errors import StorageError, UserError
from fftune.tracking.meanwhile import meanwhile


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Python's own handler, which a shell's background jobs begin without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def fail_after(event: Event):
    def work() -> None:
        event.wait()
        time.sleep(0.02)
        raise StorageError("down")

    return work


def test_the_block_gets_the_result_and_ends_after_the_work() -> None:
    began, ended = Event(), Event()

    def work() -> int:
        began.wait()
        time.sleep(0.05)
        ended.set()
        return 7

    with meanwhile(work):
        assert not ended.is_set()  # the block does not wait
        began.set()
    assert ended.is_set()
    with meanwhile(work) as result:
        assert result() == result() == 7


def test_an_error_interrupts_a_block_that_is_at_work() -> None:
    at_work = Event()
    with pytest.raises(StorageError, match="down"), meanwhile(fail_after(at_work)):
        at_work.set()
        while True:  # until it is interrupted
            time.sleep(0.01)


def test_an_error_is_raised_where_the_block_waits_and_interrupts_nothing_later() -> None:
    now = Event()
    now.set()
    for _ in range(5):
        with pytest.raises(StorageError, match="down"), meanwhile(fail_after(now)) as result:
            result()
        with pytest.raises(StorageError, match="down"), meanwhile(fail_after(now)):
            pass
    time.sleep(0.05)


def test_a_block_that_closes_what_it_opened_may_ask_and_is_told_the_same() -> None:
    at_work = Event()
    seen = []
    with pytest.raises(StorageError, match="down"), meanwhile(fail_after(at_work)) as result:
        try:
            at_work.set()
            while True:
                time.sleep(0.01)
        except BaseException:
            with pytest.raises(StorageError):
                result()
            seen.append("closed")
            raise
    assert seen == ["closed"]


def test_the_blocks_own_errors_and_the_users_interruption_pass() -> None:
    with pytest.raises(UserError, match="mine"), meanwhile(lambda: 1):
        raise UserError("mine")
    with pytest.raises(KeyboardInterrupt), meanwhile(lambda: 1):
        raise KeyboardInterrupt


@pytest.mark.parametrize("fails", [False, True])
def test_a_block_that_fails_ends_after_the_work(fails: bool) -> None:
    """Else the work would leave a run in MLflow behind those who end it."""
    failed, ended = Event(), Event()

    def work() -> None:
        failed.wait()
        time.sleep(0.05)
        ended.set()
        if fails:
            raise StorageError("down")

    with pytest.raises(UserError, match="mine"), meanwhile(work):
        failed.set()
        raise UserError("mine")
    assert ended.is_set()


def test_threads_take_turns_as_before_when_the_work_is_done() -> None:
    before = sys.getswitchinterval()
    with meanwhile(sys.getswitchinterval) as result:
        assert result() < before
    while sys.getswitchinterval() != before:
        time.sleep(0.01)


def test_a_block_of_another_thread_is_told_where_it_waits() -> None:
    told: list[Exception] = []

    def block() -> None:
        try:
            with meanwhile(fail_after(now)):
                time.sleep(0.1)
        except StorageError as error:
            told.append(error)

    now = Event()
    now.set()
    thread = Thread(target=block)
    thread.start()
    thread.join()  # and this one is not interrupted
    assert [str(error) for error in told] == ["down"]
