"""Blocking work that is waited for, whatever becomes of the one who asked."""

import asyncio
import threading

import pytest

from setpoint.pipeline.threads import to_the_end


def test_a_cancelled_caller_waits_for_the_work_and_is_told_of_both() -> None:
    """An entry that is being written when its task is cancelled is written before the cancelled one says anything."""
    begun, go = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        go.wait(10)
        return "written"

    async def scene() -> tuple[str, bool]:
        asked = asyncio.create_task(to_the_end(work))
        await asyncio.to_thread(begun.wait, 10)
        for _ in range(2):
            asked.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert not asked.done()
        go.set()
        return await asked

    assert asyncio.run(scene()) == ("written", True)


def test_a_fault_of_the_work_comes_through() -> None:
    """What work raises is the caller's to handle; without a cancellation none is told."""

    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(to_the_end(fails))
    assert asyncio.run(to_the_end(lambda: 1)) == (1, False)
