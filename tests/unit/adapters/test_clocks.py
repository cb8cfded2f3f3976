"""The clock for how long something takes: nobody can set it."""

from datetime import UTC, datetime, timedelta

from setpoint.adapters.clock import SteadyClock, SystemClock, since_boot_s
from setpoint.adapters.host import processes

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_steady_clock_goes_on_from_its_start_whatever_the_wall_clock_says() -> None:
    """It moves by the seconds since boot only."""
    elapsed = [1000.0]
    clock = SteadyClock(START, lambda: elapsed[0])
    assert clock.now() == START
    elapsed[0] += 61.5
    assert clock.now() == START + timedelta(seconds=61.5)


def test_the_real_ones_move_forward() -> None:
    """Both are in UTC, and the seconds since boot only grow."""
    first = since_boot_s()
    assert SystemClock().now().tzinfo is UTC
    assert SteadyClock(START).now() >= START
    assert since_boot_s() >= first > 0


def test_the_age_of_a_process_needs_no_wall_clock() -> None:
    """It is counted from boot; a process that is gone has none."""
    age_s = processes.age_s(1)
    assert age_s is not None
    assert 0 <= age_s <= since_boot_s()
    assert processes.age_s(2**22 + 1) is None
