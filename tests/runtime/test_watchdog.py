"""The thread that watches a service: it ends what hangs, and says nothing about what is quick."""

import asyncio
import threading
from collections import Counter

import pytest

from choreo.runtime import watchdog
from choreo.runtime.watchdog import EXIT_STUCK, Watchdog

WAIT_S = 20.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "WATCH_EVERY_S", 0.01)


async def test_a_batch_in_flight_for_too_long_ends_the_process():
    ended = threading.Event()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    watching = Watchdog("slow", [], Counter(), batch_s_max=0.05, exit_process=end)
    watching.begin()
    watching.start(asyncio.get_running_loop())
    assert await asyncio.to_thread(ended.wait, WAIT_S)
    assert codes == [EXIT_STUCK]


async def test_batches_that_end_in_time_end_nothing():
    codes: list[int] = []
    watching = Watchdog("quick", [], Counter(), batch_s_max=0.2, exit_process=codes.append)
    watching.start(asyncio.get_running_loop())
    for _ in range(20):
        watching.begin()
        await asyncio.sleep(0.02)
        watching.done()
    watching.stop()
    assert codes == []
