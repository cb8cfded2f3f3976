"""Garbage collection on real folders: what goes is really gone, what somebody uses meanwhile stays, and a crash anywhere hurts nothing."""

import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.content import ContentFolder
from setpoint.adapters.database.engine import open_database
from setpoint.adapters.database.projection import Projection
from setpoint.adapters.database.records import Records
from setpoint.adapters.database.retained import RetainedRecords
from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.git.upkeep import GitRepack
from setpoint.adapters.journal_folder import JournalFolder
from setpoint.adapters.oci.garbage import RegistryGarbage
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.render_folder import RenderFolder
from setpoint.adapters.task_cache import TaskCacheFolder
from setpoint.adapters.task_logs import TaskLogFolder
from setpoint.app.bus import Bus
from setpoint.app.recorder import JournalRecorder
from setpoint.artifact.model import CONFIG, INDEX, LAYER, MANIFEST, ArtifactRecord, Descriptor
from setpoint.core.errors import ConflictError, NotFoundError, WorldError
from setpoint.core.records import encode
from setpoint.ground.journal.service import Journal
from setpoint.pipeline.decide import empty_manifest
from setpoint.pipeline.model import LogRecord, TaskResult, TaskState
from setpoint.retention.model import Collection, Disk, Kind, Rules
from setpoint.retention.service import GarbageCollection, RetentionParts

NOW = datetime.now(UTC)
OLD = (NOW - timedelta(days=90)).timestamp()
CUT = (NOW - timedelta(days=1)).timestamp()


class _Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


class Home:
    """The folders of a home that garbage collection works on, with a journal of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = _Clock()
        self.journal = Journal(JournalFolder(root / "journal", writable=True), self.clock)
        engine = open_database(root / "setpoint.db")
        self.recorder = JournalRecorder(self.journal, Projection(engine), Bus())
        self.recorder.catch_up()
        self.store = OciStoreFolder(root / "registry")
        self.content = ContentFolder(root / "content")
        self.cache = TaskCacheFolder(root / "cache")
        self.logs = TaskLogFolder(root / "logs")
        self.git = GitRepositories(root / "repositories")
        self.records = RetainedRecords(Records(engine))
        self.pins: Callable[[], dict[str, str]] = dict
        self.garbage = RegistryGarbage(self.store)

    def parts(self, **members: Any) -> RetentionParts:
        """Return what the service works with."""
        made = RetentionParts(
            records=self.records,
            recorder=self.recorder,
            clock=self.clock,
            registry=self.garbage,
            shelves={Kind.CACHE: self.cache, Kind.CONTENT: self.content, Kind.LOG: self.logs},
            git=GitRepack(self.git),
            pinned=self.pinned,
            running=dict,
            leftovers=lambda: self.store.sweep(self.clock.now()),
            disk=lambda: Disk(1 << 40, 1 << 39),
            rules=Rules(versions=2, days=30),
        )
        return replace(made, **members)

    def pinned(self) -> dict[str, str]:
        """Return what is pinned; a test may say otherwise."""
        return self.pins()

    def service(self, **members: Any) -> GarbageCollection:
        """Return a collector."""
        return GarbageCollection(self.parts(**members))

    def build(self, number: int, *, at: str = "2026-01-01T00:00:00.000Z") -> Descriptor:
        """Put a version into the registry as a build does, and journal it."""
        config = self.store.put_blob("hello/web", f"config {number}".encode(), CONFIG)
        layer = self.store.put_blob("hello/web", f"layer {number}".encode() * 1000, LAYER)
        data = {"schemaVersion": 2, "mediaType": MANIFEST, "config": _wire(config), "layers": [_wire(layer)]}
        made = self.store.put_manifest("hello/web", json.dumps(data).encode(), MANIFEST, str(number))
        record = ArtifactRecord("hello", "web", "hello/web", made.digest, 1, f"r-{number}", "c" * 40, str(number), at, (), "", "host")
        self.recorder.record("artifact.built", made.digest, "setpoint", encode(record))
        return made

    def age(self, since: float = OLD) -> None:
        """Make everything in the registry and the other folders old."""
        for folder in ("registry", "content", "cache", "logs"):
            for path in (self.root / folder).rglob("*"):
                os.utime(path, (since, since))

    def blobs(self) -> set[str]:
        """Return the digests of all bytes that lie in the registry."""
        return {f"sha256:{path.name}" for path in (self.root / "registry" / "blobs" / "sha256").iterdir()}


def _wire(part: Descriptor) -> dict[str, Any]:
    return {"mediaType": part.media_type, "digest": part.digest, "size": part.size_bytes}


def _layers(home: Home, made: Descriptor) -> list[str]:
    """Return the digests of config and layers."""
    found = home.store.manifest("hello/web", made.digest)
    assert found is not None
    value = json.loads(found.data)
    return [value["config"]["digest"], *(layer["digest"] for layer in value["layers"])]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(tmp_path)


def test_old_versions_go_with_their_bytes_and_the_journal_says_so(home: Home) -> None:
    """Of five versions the newest two stay and can be read; the others are gone from links, tags and disk, in intent, effect, outcome."""
    made = [home.build(number) for number in range(5)]
    home.age()
    before = home.blobs()
    planned = home.service().plan()
    ended = home.service().collect("operator")
    assert (ended.state, ended.gone["manifests"].count, ended.gone["blobs"].count) == ("done", 3, 9)
    assert ended.gone == planned.sums() == ended.planned
    assert len(home.blobs()) == len(before) - 9
    assert home.store.tags("hello/web") == ["3", "4"]
    assert home.store.manifest("hello/web", made[0].digest) is None
    for digest in _layers(home, made[4]):
        home.store.read_blob("hello/web", digest)
    entries = [(entry.kind, entry.subject, entry.actor) for entry in home.journal.entries()][-2:]
    assert entries == [("gc.started", ended.gc, "operator"), ("gc.done", ended.gc, "operator")]
    assert home.records.collections() == [ended]
    assert home.service().collect("operator").gone == {}


def test_what_was_deleted_in_the_registry_gives_its_bytes_back(home: Home) -> None:
    """DELETE takes links away; the next collection takes the bytes, and leftovers of uploads with them."""
    made = home.build(1)
    blobs = _layers(home, made)
    home.store.delete_manifest("hello/web", made.digest)
    for blob in blobs:
        home.store.delete_blob("hello/web", blob)
    home.store.uploads.start("hello/web")
    home.age()
    ended = home.service().collect("operator")
    assert home.blobs() == set()
    assert ended.gone["leftovers"].count == 1


def test_a_source_that_cannot_be_read_deletes_nothing(home: Home) -> None:
    """A manifest whose bytes are damaged, or pins that cannot be read: the collection fails, says why, and every byte is still there."""
    made = [home.build(number) for number in range(5)]
    home.age()
    before = home.blobs()

    def broken() -> dict[str, str]:
        raise WorldError("SP107", "the repository cannot be used")

    home.pins = broken
    ended = home.service().collect("operator")
    assert (ended.state, ended.why, ended.gone) == ("failed", "the repository cannot be used", {})
    home.pins = dict
    (home.root / "registry" / "blobs" / "sha256" / made[0].digest[7:]).write_bytes(b"{}")
    ended = home.service().collect("operator")
    assert ended.state == "failed"
    assert "cannot be read" in ended.why
    assert home.blobs() == before
    with pytest.raises(WorldError, match="SP340"):
        home.service().plan()


def test_bytes_that_a_client_asked_for_after_the_look_stay(home: Home) -> None:
    """HEAD of a blob, HEAD of a manifest, a mount, and a manifest that names old ones: each saves exactly what the client relies on."""
    made = [home.build(number) for number in range(4)]
    home.age()
    layers = [_layers(home, one) for one in made]
    home.age()
    plan = home.service().plan()
    assert {item.name for item in plan.of(Kind.MANIFEST)} == {made[0].digest, made[1].digest}
    assert home.store.use_manifest("hello/web", made[0].digest)
    assert home.store.mount("other", layers[1][1], "hello/web")
    for item in plan.of(Kind.MANIFEST):
        assert home.garbage.drop_manifest(item.repository, item.name, CUT) is (item.name == made[1].digest)
    home.garbage.unlink(plan.unlinked, CUT)
    home.garbage.settle()
    dropped = {item.name for item in plan.of(Kind.BLOB) if home.garbage.drop_blob(item.name, CUT) is not None}
    assert dropped == {made[1].digest, layers[1][0]}
    assert home.store.has_blob("other", layers[1][1])
    for digest in layers[0]:
        home.store.read_blob("hello/web", digest)
    assert home.store.tags("hello/web") == ["0", "2", "3"]


def test_an_index_pushed_over_old_manifests_saves_them_with_their_layers(home: Home) -> None:
    """Whoever pushes an index sends none of what is there already, so all of it counts as used."""
    made = [home.build(number) for number in range(4)]
    layers = _layers(home, made[0])
    home.age()
    plan = home.service().plan()
    child = {"mediaType": MANIFEST, "digest": made[0].digest, "size": made[0].size_bytes}
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}).encode()
    home.store.put_manifest("hello/web", data, INDEX, "all")
    assert not home.garbage.drop_manifest("hello/web", made[0].digest, CUT)
    home.garbage.unlink(plan.unlinked, CUT)
    for item in plan.of(Kind.BLOB):
        home.garbage.drop_blob(item.name, CUT)
    for digest in layers:
        home.store.read_blob("hello/web", digest)


def test_a_pusher_beside_the_collector_never_loses_what_it_found(home: Home) -> None:
    """Clients push old content anew (look, send only what is missing, put the manifest) while collections run: every push holds."""
    made = [home.build(number) for number in range(40)]
    contents = [_content(home, one) for one in made]
    faults: list[str] = []
    over = threading.Event()

    def collect() -> None:
        while not over.is_set():
            home.service().collect("operator")

    home.age()
    collector = threading.Thread(target=collect)
    collector.start()
    pushers = [threading.Thread(target=_push, args=(home, contents, range(part, 38, 3), faults)) for part in range(3)]
    for thread in pushers:
        thread.start()
    for thread in pushers:
        thread.join()
    over.set()
    collector.join()
    assert faults == []
    for number in range(38):
        assert home.store.manifest("hello/web", f"again-{number}") is not None


def _push(home: Home, contents: list[tuple[bytes, dict[str, bytes]]], numbers: range, faults: list[str]) -> None:
    """Push as registry clients do: look for each blob, send what is missing, put the manifest, read everything back."""
    for number in numbers:
        manifest, blobs = contents[number]
        for digest, data in blobs.items():
            if not home.store.has_blob("hello/web", digest):
                home.store.put_blob("hello/web", data)
        try:
            stored = home.store.put_manifest("hello/web", manifest, MANIFEST, f"again-{number}")
            found = [home.store.read_blob("hello/web", digest) for digest in blobs]
        except NotFoundError as error:
            faults.append(f"{number}: {error.what}")
            continue
        if found != list(blobs.values()) or home.store.manifest("hello/web", stored.digest) is None:
            faults.append(f"{number}: other bytes")


def _content(home: Home, made: Descriptor) -> tuple[bytes, dict[str, bytes]]:
    found = home.store.manifest("hello/web", made.digest)
    assert found is not None
    return found.data, {digest: home.store.read_blob("hello/web", digest) for digest in _layers(home, made)}


class _Killed(BaseException):
    """A server that ends here."""


def _count(home: Home) -> int:
    """Return how many removals a whole collection makes."""
    steps = _Steps(home, 10**9)
    steps.collect()
    return steps.made


class _Steps:
    """A collection that is killed before one of its removals."""

    def __init__(self, home: Home, last: int) -> None:
        self.home, self.last, self.made = home, last, 0

    def collect(self) -> None:
        """Collect until the kill."""
        unlink = Path.unlink

        def counted(path: Path, *arguments: Any, **options: Any) -> None:
            if self.made == self.last:
                raise _Killed
            self.made += 1
            unlink(path, *arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "unlink", counted)
            self.home.service().collect("operator")


def test_a_collection_that_is_killed_at_any_removal_leaves_a_home_that_reads_and_collects(tmp_path: Path) -> None:
    """Killed before each removal in turn: what stays can be read whole, and the next collection ends where an unbroken one ends."""
    whole = _old_home(tmp_path / "whole")
    total = _count(whole)
    assert total > 10
    for last in range(total):
        home = _old_home(tmp_path / str(last))
        with pytest.raises(_Killed):
            _Steps(home, last).collect()
        again = Home(home.root)
        report = again.service().report()
        assert report.last is not None
        assert (report.last.state, report.last.why) == ("stopped", "the server ended")
        assert again.service().collect("operator").state == "done"
        assert again.blobs() == whole.blobs()
        for version in ("2", "3"):
            made = again.store.manifest("hello/web", version)
            assert made is not None
            for digest in _layers(again, Descriptor(MANIFEST, made.digest, 0)):
                again.store.read_blob("hello/web", digest)
        assert [thing.name for thing in again.content.things()] == [thing.name for thing in whole.content.things()]
        again.journal.check()


def _old_home(root: Path) -> Home:
    root.mkdir()
    home = Home(root)
    for number in range(4):
        home.build(number)
    stored = home.content.put(b"output")
    result = TaskResult(
        "r-1", "test", TaskState.PASSED, "sha256:" + "1" * 64, replace(empty_manifest(), trust="trusted"), 0, outputs=stored
    )
    home.cache.put(result.manifest.trust, result)
    home.logs.append("r-1", "test", [LogRecord(0, "2026-01-01T00:00:00.000Z", "out", "hello")])
    home.logs.close()
    home.age()
    return home


def test_a_cached_result_goes_before_its_content_and_stays_when_it_is_asked_for(home: Home) -> None:
    """A reused result and its content are in use from then on; unused ones go together, and logs with them."""
    manifest = replace(empty_manifest(), trust="trusted")
    results = []
    for number in (1, 2):
        stored = home.content.put(f"output {number}".encode())
        result = TaskResult("r-0", "test", TaskState.PASSED, f"sha256:{number:064d}", manifest, 0, outputs=stored)
        home.cache.put(manifest.trust, result)
        results.append(result)
    home.logs.append("r-0", "test", [LogRecord(0, "2026-01-01T00:00:00.000Z", "out", "hello")])
    home.age()
    found = home.cache.get(manifest.trust, results[0].key)
    assert found is not None
    assert found.outputs is not None
    ended = home.service().collect("operator")
    assert {kind: item.count for kind, item in ended.gone.items()} == {"task-cache": 1, "content": 1, "logs": 1}
    assert home.cache.get(manifest.trust, results[0].key) is not None
    assert home.content.path(found.outputs.digest) is not None
    assert home.cache.get(manifest.trust, results[1].key) is None
    assert home.logs.read("r-0", "test") == []


def test_a_render_goes_by_its_last_use_and_is_made_again_when_it_is_gone(tmp_path: Path) -> None:
    """One that was read since the look stays; half a file that a killed writer left goes too."""
    renders = RenderFolder(tmp_path / "renders")
    for letter in "abc":
        renders.put(f"sha256:{letter * 64}", b"objects")
    (tmp_path / "renders" / "aa" / ".half").write_bytes(b"x")
    for path in (tmp_path / "renders").rglob("*"):
        os.utime(path, (OLD, OLD))
    things = renders.things()
    assert renders.get(f"sha256:{'b' * 64}") == b"objects"
    gone = {thing.name: renders.drop(thing.name, CUT) for thing in things}
    assert {name[:2] for name, size in gone.items() if size is None} == {"bb"}
    assert (renders.get(f"sha256:{'a' * 64}"), [thing.name[:2] for thing in renders.things()]) == (None, ["bb"])
    renders.put(f"sha256:{'a' * 64}", b"again")
    assert renders.get(f"sha256:{'a' * 64}") == b"again"


def test_content_that_is_asked_for_after_the_look_stays(home: Home) -> None:
    """A path that was handed out is good for a day."""
    stored = home.content.put(b"output")
    home.age()
    assert home.content.path(stored.digest) is not None
    assert home.content.drop(stored.digest, CUT) is None
    home.age()
    assert home.content.drop(stored.digest, CUT) == 6
    assert home.content.path(stored.digest) is None


def test_one_collection_at_a_time_and_it_can_be_stopped(home: Home) -> None:
    """A second one is refused while the first goes on; a stop ends it between two things, and the rest is for the next one."""
    for number in range(20):
        home.build(number)
    home.age()
    reached, go_on = threading.Event(), threading.Event()
    drop = home.garbage.drop_manifest

    def slow(repository: str, digest: str, unused_since: float) -> bool:
        reached.set()
        assert go_on.wait(20)
        return drop(repository, digest, unused_since)

    home.garbage.drop_manifest = slow  # type: ignore[method-assign]
    service = home.service()
    with pytest.raises(ConflictError, match="SP721"):
        service.stop()
    begun = service.begin("operator")
    assert reached.wait(20)
    with pytest.raises(ConflictError, match="SP720"):
        service.begin("operator")
    active = service.report().active
    assert active is not None
    assert (active.gc, service.report().total) == (begun.gc, len(service.plan().going))
    assert service.stop() == begun
    go_on.set()
    service.close()
    last = service.report().last
    assert last is not None
    assert (last.state, last.gone["manifests"].count) == ("stopped", 1)
    assert service.collect("operator").gone["manifests"].count == 17


def test_it_runs_by_itself_an_hour_after_the_start_and_then_once_a_day(home: Home) -> None:
    """The time of the last one is the journal's, so a restart changes nothing; switched off, it never runs."""
    service = home.service()
    off = home.service(automatic=False)

    def runs(after: timedelta) -> bool:
        home.clock.at += after
        before = len(home.records.collections())
        off.advance()
        service.advance()
        service.close()
        return len(home.records.collections()) > before

    assert not runs(timedelta(minutes=59))
    assert runs(timedelta(minutes=2))
    assert not runs(timedelta(hours=23))
    service = home.service()
    assert not runs(timedelta(minutes=59))
    assert runs(timedelta(minutes=2))
    assert home.records.collections()[0].by == "setpoint"
    assert off.report().due_at == ""


def test_a_journal_that_cannot_be_written_deletes_nothing(home: Home) -> None:
    """Intent before effect: without the entry there is no removal."""

    class _Full:
        def record(self, kind: str, *_: object) -> None:
            raise WorldError("SP002", f"no room for {kind}")

        def record_all(self, *_: object) -> None:
            raise AssertionError

    for number in range(4):
        home.build(number)
    home.age()
    before = home.blobs()
    assert home.service(recorder=_Full()).collect("operator").state == "failed"
    assert home.blobs() == before


def test_collections_are_read_back_as_they_were_written(home: Home) -> None:
    """An older entry without the newer fields is read with their defaults."""
    home.recorder.record("gc.done", "gc-1", "setpoint", {"gc": "gc-1", "state": "done", "began_at": "2026-01-01T00:00:00.000Z", "by": "x"})
    assert home.records.collections() == [Collection("gc-1", "done", "2026-01-01T00:00:00.000Z", "x")]


def test_a_disk_that_is_nearly_full_is_told_with_what_would_be_freed(home: Home) -> None:
    """Less than a tenth and less than 10 GiB: the sentence has the size; looked up once in ten minutes; a home with room says nothing."""
    for number in range(4):
        home.build(number)
    home.age()
    assert home.service().pressing() == ""
    assert not Disk(1 << 40, 20 << 30).nearly_full
    full = home.service(disk=lambda: Disk(100 << 30, 1 << 30))
    said = full.pressing()
    assert said.startswith("the disk is nearly full: 1.0 GiB of 100.0 GiB are free; a collection would free ")
    home.service().collect("operator")
    assert full.pressing() == said
    home.clock.at += timedelta(minutes=11)
    assert full.pressing().endswith("would free 0 B")
    assert full.report().nearly_full


def test_what_is_named_is_kept_again_right_before_each_repository_is_packed(home: Home) -> None:
    """A commit that an entry names since the collection began has its hidden ref before git lets anything go."""
    calls: list[str] = []

    class _Git:
        def keep(self, named: Mapping[str, Iterable[str]]) -> int:
            calls.append("keep " + " ".join(sorted(named)))
            return 0

        def waiting(self) -> tuple[str, ...]:
            return ("a", "b")

        def repack(self, name: str) -> int:
            calls.append(f"repack {name}")
            return 0

    assert home.service(git=_Git()).collect("operator").state == "done"
    assert calls[1:] == ["keep a", "repack a", "keep b", "repack b"]
