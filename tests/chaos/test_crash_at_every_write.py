"""Law 5, tried one by one: the process dies before, after or in the middle of a write, and after a restart the end is the same.

The road is played once without a death, step by step; then single steps are played again from their beginning with a death at a chosen
write. A run takes a seeded sample that changes every day; SETPOINT_CHAOS_SEED repeats one. SETPOINT_CHAOS=all takes every write,
SETPOINT_CHAOS=2/5 the second of five parts of them; SETPOINT_CHAOS_REPORT names a file that gets a line for each.

A death is cheap: homes lie in memory where there is a folder for that, and nobody sleeps. With all writes it is also found out, on the road
without a death, where nothing that outlives the process changed between the end of one write and the beginning of the next (no file, by
inode, size and time, and nothing of the modelled host but its clock). Whoever dies there leaves the very same home, so only one of the
two deaths is played; everywhere else both are. No point is left out because it merely looks like another one.
"""

import gc
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chaos.crash_road import STEPS, Moment, Road
from chaos.fate import Fate, When
from chaos.settled import end_state
from chaos.writes import Writes

SEED = os.environ.get("SETPOINT_CHAOS_SEED") or datetime.now(UTC).strftime("%Y%m%d")
SINGLE, DOUBLE, WHOLE = 22, 6, 2
"""How many steps are played with one death, how many with a second one while the first is mended, and how many roads to their end."""
_CHOSEN = os.environ.get("SETPOINT_CHAOS", "").replace("all", "1/1")
REPORT = os.environ.get("SETPOINT_CHAOS_REPORT", os.devnull)
PART = (int(_CHOSEN.partition("/")[0]), int(_CHOSEN.partition("/")[2])) if _CHOSEN else (0, 0)
_MEMORY = Path("/dev/shm")  # noqa: S108 - a fresh folder of it, made private
_ROOM_BYTES = 256 << 20
_PREFIX = "setpoint-crash-road-"
_REACH = 12
"""A second death comes within this many writes of the restart."""


@dataclass
class Baseline:
    """The road without a death."""

    moments: list[Moment]
    """Before each step."""
    ends: list[dict[str, Any]]
    """After each step."""
    names: list[list[str]]
    """The writes of each step."""
    writers: frozenset[str]
    """The port calls that were seen to write."""
    news: list[list[bool]]
    """By step and write: whether a death before it leaves anything else than one after the write before it; empty: not looked at."""

    def points(self) -> list[tuple[int, int, When]]:
        """Return every (step, number of the write, when) that leaves a home of its own."""
        found: list[tuple[int, int, When]] = []
        for step, names in enumerate(self.names):
            for number, name in enumerate(names):
                if not self.news[step] or self.news[step][number]:
                    found.append((step, number, "before"))
                found.append((step, number, "after"))
                found += [(step, number, "torn")] if name == "JournalFolder.append" else []
        return found


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for homes: in memory when there is room, for every death copies one. Those of runs that were killed go."""
    roomy = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    place = _MEMORY if roomy else Path(tempfile.gettempdir())
    for old in place.glob(f"{_PREFIX}*"):
        if not Path("/proc", old.name.removeprefix(_PREFIX).partition("-")[0]).exists():
            shutil.rmtree(old, ignore_errors=True)
    found = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place))
    yield found
    shutil.rmtree(found)


@pytest.fixture(scope="module")
def baseline(folder: Path) -> Iterator[Baseline]:
    """Play the road once to find who writes, then every step in a life of its own, and keep what it did."""
    kept = folder / "moments"
    kept.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        road = Road(folder / "watched", Fate())
        watch = road.fate.watch = Writes(patch, road.world.kept)
        with pytest.MonkeyPatch.context() as first:
            road.patches(first)
            road.play(STEPS - 1)
        last = Road(folder / "again", road.fate, road.moment(kept / "watched"))  # a start that has something to clean up
        last.patches(patch)
        last.play(STEPS)
    found = Baseline([], [], [], frozenset(watch.writers), [])
    with pytest.MonkeyPatch.context() as patch:
        road = Road(folder / "baseline", Fate(writers=found.writers))
        road.patches(patch)
        road.fate.look = road.look if _CHOSEN else None
        for step in range(STEPS):
            found.moments.append(road.moment(kept / str(step)))
            road.play(step + 1)
            found.ends.append(end_state(road, kept))
            found.names.append(road.fate.names[-1])
            found.news.append(road.fate.news[-1])
            road.fate.reborn()
    gc.collect()
    gc.freeze()  # what is there now stays: looking through it again at every death took a fifth of the time
    yield found
    gc.unfreeze()


def _difference(found: Any, wanted: Any) -> str:
    """Return what is too much and what is missing, as text."""
    if found == wanted:
        return ""
    one, other = ([str(item) for item in (part.items() if isinstance(part, dict) else part)] for part in (found, wanted))
    return "\n".join([*(f"+ {text}" for text in one if text not in other), *(f"- {text}" for text in other if text not in one)])


def _play(baseline: Baseline, step: int, deaths: list[tuple[int, When]], folder: Path, until: int) -> None:
    """Play from a step with deaths, and compare the end."""
    home = folder / "road"
    shutil.rmtree(home, ignore_errors=True)
    road = Road(home, Fate(deaths, baseline.writers), baseline.moments[step])
    with pytest.MonkeyPatch.context() as patch:
        road.patches(patch)
        road.play(until)
    names = [calls[number] if number < len(calls) else "-" for calls, (number, _) in zip(road.fate.names, deaths, strict=False)]
    where = f"SETPOINT_CHAOS_SEED={SEED}: step {step}, deaths {deaths} at {names}"
    assert road.fate.lives > 0, f"nobody died: {where}"
    found = end_state(road, folder)
    for part, wanted in baseline.ends[until - 1].items():
        assert _difference(found[part], wanted) == "", f"{part} differs; {where}"


def test_the_road_without_a_death(baseline: Baseline) -> None:
    """Staging and production end as the script says, nothing is lost or in clear, and there are hundreds of writes to die at."""
    end = baseline.ends[-1]
    for environment, number in (("staging", "6-"), ("production", "2-")):
        health, version, *_ = end["deployments"][f"hello/{environment}"]
        assert (health, version[:2]) == ("healthy", number)
    assert (end["lost"], end["faults"], end["in clear"]) == ([], [], [])
    assert len(end["replicas"]) == 2
    assert sum(map(len, baseline.names)) > 400


def test_every_way_of_writing_is_found(baseline: Baseline) -> None:
    """Watching sees files, folders, SQLite, Git, the model of the host, and what only a start with leftovers does; reads are no points."""
    for call in ("JournalFolder.append", "WorkspaceFolder.remove", "Projection.apply", "GitRepositories.advance", "HaProxy.apply"):
        assert call in baseline.writers
    assert {"ContentFolder.sweep", "WorkspaceFolder.sweep"} <= baseline.writers
    assert not [call for call in baseline.writers if call.startswith("Records.")]
    assert baseline.writers >= {name for names in baseline.names for name in names}


def test_a_death_before_a_write_is_one_of_its_own_where_anything_changed_since_the_write_before(folder: Path) -> None:
    """What changed may be a file that no port wrote, a name, or the world; the first write of a life has nothing before it."""
    road = Road(folder / "news", Fate(writers=frozenset({"write"})))
    road.home.root.mkdir()
    road.fate.look = road.look
    between: list[Callable[[], object]] = [
        lambda: None,
        lambda: (road.home.root / "new").write_text("1"),
        lambda: None,
        lambda: (road.home.root / "new").rename(road.home.root / "other"),
        road.world.tick,
        lambda: road.world.strike("staging"),
    ]
    for change in between:
        road.fate.pass_through("write", lambda: (road.home.root / "written").write_text("by a port"))
        change()
    road.fate.pass_through("write", lambda: None)
    assert road.fate.news == [[True, False, True, False, True, False, True]], "time alone is no change"


def test_a_sample_of_deaths_changes_nothing(baseline: Baseline, folder: Path) -> None:
    """Whatever write the process died at, also once more while it mended the first death: the step ends as it does without a death."""
    chance = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    points = chance.sample(baseline.points(), SINGLE + DOUBLE)
    for number, (step, point, when) in enumerate(points):
        again: list[tuple[int, When]] = [(chance.randrange(_REACH), chance.choice(("before", "after")))] if number >= SINGLE else []
        _play(baseline, step, [(point, when), *again], folder, step + 1)


def test_a_sample_of_roads_ends_alike(baseline: Baseline, folder: Path) -> None:
    """A death early on the road changes nothing at its very end."""
    chance = random.Random(f"{SEED} roads")  # noqa: S311 - a sample, not a secret
    for step, point, when in chance.sample(baseline.points(), WHOLE):
        _play(baseline, step, [(point, when)], folder, STEPS)


def _every_death_changes_nothing(baseline: Baseline, folder: Path) -> None:
    """Every write of this part, before, after and torn; all that end differently are named."""
    part, parts = PART
    every = baseline.points()
    chosen, faults, began = every[part - 1 :: parts], list[str](), time.monotonic()
    with Path(REPORT).open("a", encoding="utf-8", buffering=1) as report:
        report.write(f"# SETPOINT_CHAOS={part}/{parts} SETPOINT_CHAOS_SEED={SEED}: {len(chosen)} of {len(every)} points\n")
        for step, point, when in chosen:
            place, fault = f"step {step}, {when} write {point} ({baseline.names[step][point]})", ""
            try:
                _play(baseline, step, [(point, when)], folder, step + 1)
            except (Exception, pytest.fail.Exception) as problem:  # noqa: BLE001 - every one is wanted
                fault = str(problem)[:1500]
                faults.append(f"{place}: {fault}")
            report.write(f"{place}: {f'differs: {fault}' if fault else 'the same'}\n")
        report.write(f"# {len(faults)} of {len(chosen)} differ, {time.monotonic() - began:.0f} s\n")
    assert not faults, "\n\n".join(faults)


if _CHOSEN:  # not a skipped test: a sample is what a normal run means to take
    test_every_death_changes_nothing = _every_death_changes_nothing
