"""Homes of earlier versions, kept as files: unpacked, opened with today's code, and asked what a person asks.

A frozen home is a folder beside this file: `journal.log` as it was, `rest.tar.xz` with everything else on disk but the database,
and `answers.json` with what its own version answered. `python tests/compat/frozen.py NAME` freezes the crash road's end as a new one.
"""

import io
import json
import lzma
import shutil
import sys
import tarfile
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos.crash_road import STEPS, Road
from chaos.fate import Fate
from chaos.world import World
from setpoint.app.application import Application
from setpoint.core import clock, records

HERE = Path(__file__).parent
KEPT = ("keys", "repositories", "registry", "content", "task-cache", "logs", "tokens.json")


def names() -> list[str]:
    """Return the names of all frozen homes."""
    return sorted(path.parent.name for path in HERE.glob("*/answers.json"))


def ask(app: Application) -> dict[str, Any]:
    """Return what status, why, trace, evidence, runs and holds say, as JSON."""
    said: dict[str, Any] = {"status": app.status.status(None), "runs": app.store.records.runs(None, 100)}
    said |= {f"why {name}": app.status.why("hello", name) for name in ("staging", "production")}
    promotions = app.store.records.promotions("hello", None, 100)
    digests = {pinned.digest for one in promotions for pinned in one.candidate.artifacts.values()}
    said["promotions"] = promotions
    said |= {f"approvals {one.promotion}": app.store.records.approvals(one.promotion) for one in promotions}
    said |= {f"trace {thing}": app.trace.trace(thing) for thing in [*digests, *(one.promotion for one in promotions)]}
    said |= {f"change {run.revision}": app.trace.journey(run.revision) for run in said["runs"]}
    said |= {f"run {run.run}": app.runs.report(run.run) for run in said["runs"]}
    said |= {f"evidence {digest}": app.evidence.evidence(digest, None) for digest in digests}
    said["holds"] = app.stops.listed(None, None, ended=True)
    said["journal"] = app.store.journal.check()
    found: dict[str, Any] = json.loads(json.dumps({name: records.encode(value) for name, value in said.items()}))
    return found


def answers(frozen: Path, folder: Path) -> dict[str, Any]:
    """Unpack a frozen home into a folder, open it a minute after its last entry, and ask."""
    road = Road(folder, Fate())
    home = road.home
    home.root.mkdir(parents=True)
    home.journal.mkdir()
    shutil.copy(frozen / "journal.log", home.journal / "000000000000.log")
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress((frozen / "rest.tar.xz").read_bytes()))) as tar:
        tar.extractall(home.root, filter="data")
    for key in (home.root / "keys").rglob("*"):
        key.chmod(0o700 if key.is_dir() else 0o600)
    last = json.loads((frozen / "journal.log").read_text().splitlines()[-1])
    road.world.instant = clock.from_text(last["at"]) + timedelta(minutes=1)
    with pytest.MonkeyPatch.context() as patch:
        # The time stands: how often it is looked at is nobody's promise.
        patch.setattr(World, "now", lambda world: world.instant)
        road.patches(patch)
        try:
            return ask(road.application())
        finally:
            road.close()


def missing(now: Any, then: Any, place: str = "") -> list[str]:
    """Return every place where today's answer differs from the frozen one; what has been added since is no difference."""
    if isinstance(then, dict) and isinstance(now, dict):
        return [text for key, value in then.items() for text in missing(now.get(key, "nothing"), value, f"{place}/{key}")]
    if isinstance(then, list) and isinstance(now, list) and len(now) == len(then):
        return [text for number, value in enumerate(then) for text in missing(now[number], value, f"{place}/{number}")]
    return [] if now == then else [f"{place}: {str(now)[:200]} instead of {str(then)[:200]}"]


def freeze(name: str) -> None:
    """Play the crash road to its end and keep its home; nothing is kept when that fails."""
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        road, target = Road(Path(scratch) / "played", Fate()), Path(scratch) / "frozen"
        target.mkdir()
        road.patches(patch)
        road.play(STEPS)
        patch.undo()
        segments = sorted(road.home.journal.glob("*.log"))
        (target / "journal.log").write_bytes(b"".join(segment.read_bytes() for segment in segments))
        rest = io.BytesIO()
        with tarfile.open(fileobj=rest, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for kept in KEPT:
                if (road.home.root / kept).exists():
                    tar.add(road.home.root / kept, kept)
        (target / "rest.tar.xz").write_bytes(lzma.compress(rest.getvalue()))
        said = answers(target, Path(scratch) / "opened")
        (target / "answers.json").write_text(json.dumps(said, sort_keys=True) + "\n")
        shutil.copytree(target, HERE / name)


if __name__ == "__main__":
    freeze(sys.argv[1])
