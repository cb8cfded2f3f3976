"""Green results by trust domain and key, as small files; fills `TaskCache`.

Built by wiring, called by the pipeline. Entries are claims: losing one costs time only, so a torn or foreign file is simply no entry.
"""

import json
import os
import secrets
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Final

from setpoint.core import digest as digests
from setpoint.core import records
from setpoint.core.errors import BugError
from setpoint.pipeline.model import TaskResult
from setpoint.retention.model import Thing

_VERSION: Final = 1
_LARGEST_BYTES: Final = 16 << 20
_USE_S: Final = 86_400
"""A use is noted in the file's modification time at most once in this time; garbage collection goes by it."""
_KEPT: Final = 4000
"""Results kept in memory, about 2 KB each."""
_Stamp = tuple[int, int, int]


class TaskCacheFolder:
    """`<trust>/<2 hex>/<64 hex>.json` below root."""

    def __init__(self, root: Path) -> None:
        self._folder = str(root)
        self._kept: OrderedDict[str, tuple[_Stamp, TaskResult]] = OrderedDict()
        """What was read last, while its file is the same: the files stay what counts."""
        self._lock = threading.Lock()

    def get(self, trust: str, key: str) -> TaskResult | None:
        """Return the recorded result for this key in this trust domain, if there is one that can be read."""
        place = self._place(trust, key)
        try:
            status = os.stat(place)  # noqa: PTH116 - a Path for each of a thousand tasks costs more than asking
            if time.time() - status.st_mtime > _USE_S:
                os.utime(place)
                status = os.stat(place)  # noqa: PTH116 - as above
            stamp = _stamp(status)
            with self._lock:
                kept = self._kept.get(place)
                if kept is not None and kept[0] == stamp:
                    self._kept.move_to_end(place)
                    return kept[1]
            with Path(place).open("rb", buffering=0) as file:
                stamp = _stamp(os.fstat(file.fileno()))
                entry = json.loads(file.read(_LARGEST_BYTES))
            if entry["version"] != _VERSION:
                return None
            result = records.decode(TaskResult, entry["result"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if result.key != key or result.manifest.trust != trust or not result.state.green:
            return None
        with self._lock:
            self._kept[place] = (stamp, result)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return result

    def put(self, trust: str, result: TaskResult) -> None:
        """Record a green result, replacing an older one.

        Raises:
            BugError: the result is not green (SP244), or belongs to another trust domain (SP245).
        """
        if not result.state.green:
            raise BugError("SP244", f"only green results are reused, this one is {result.state}", where=f"{result.run}/{result.task}")
        if result.manifest.trust != trust:
            raise BugError("SP245", f"a result of the trust domain {result.manifest.trust!r} is offered to {trust!r}", where=result.run)
        place = Path(self._place(trust, result.key))
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_suffix(f".{secrets.token_hex(6)}")
        fresh.write_text(json.dumps({"version": _VERSION, "result": records.encode(result)}))
        fresh.replace(place)

    def things(self) -> list[Thing]:
        """Return every entry with its last use and the content that it needs (garbage collection)."""
        found: list[Thing] = []
        for path in Path(self._folder).glob("*/*/*"):
            with suppress(FileNotFoundError):
                facts = path.stat()
                found.append(Thing(str(path.relative_to(self._folder)), facts.st_size, facts.st_mtime, _needed(path)))
        return found

    def drop(self, name: str, unused_since: float) -> int | None:
        """Delete an entry unless it was used since; returns its bytes."""
        place = Path(self._folder) / name
        with suppress(FileNotFoundError):
            facts = place.stat()
            if facts.st_mtime < unused_since:
                place.unlink()
                with self._lock:
                    self._kept.pop(str(place), None)
                return facts.st_size
        return None

    def _place(self, trust: str, key: str) -> str:
        """Return the file of a key: as text, for it is asked for every task of every run, and a Path costs as much as the file's stat.

        Raises:
            BugError: trust is no plain word or key no digest (SP245).
        """
        if not trust.isalnum() or not digests.is_digest(key):
            raise BugError("SP245", f"no place for the key {key!r} in the trust domain {trust!r}")
        text = key.partition(":")[2]
        return f"{self._folder}/{trust}/{text[:2]}/{text}.json"


def _stamp(status: os.stat_result) -> _Stamp:
    """Return what differs when a file was replaced or written."""
    return status.st_ino, status.st_mtime_ns, status.st_size


def _needed(path: Path) -> tuple[str, ...]:
    """Return the content that an entry names; a torn or foreign file names none, as `get` takes it for no entry."""
    try:
        result = json.loads(path.read_bytes())["result"]
        files = [result.get("outputs"), *(result.get("reports") or {}).values()]
        return tuple(str(file["digest"]) for file in files if file)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
