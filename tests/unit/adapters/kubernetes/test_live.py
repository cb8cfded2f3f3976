"""The picture of live objects: what streams bring is there, what breaks says since when, and what is not known is never taken for gone."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from setpoint.adapters.kubernetes import live as module
from setpoint.adapters.kubernetes.client import Change, Client, ExpiredError, Listed, Manifest
from setpoint.adapters.kubernetes.kinds import Kind
from setpoint.adapters.kubernetes.live import Live, LiveParts, Scope, backoff_s, scopes_of
from setpoint.adapters.kubernetes.live_store import Store
from setpoint.core.errors import ConflictError, NotAllowedError, WorldError
from setpoint.reconcile.cluster.model import ObjectKey

A, B = (ObjectKey("", "ConfigMap", "shop", name) for name in "ab")
KIND = Kind("v1", "ConfigMap", "configmaps", True, frozenset({"list", "watch"}))
DOWN = WorldError("SP682", "the connection broke", where="x", fix="y")


def config(name: str, version: int, **data: str) -> Manifest:
    """Return a ConfigMap in some version."""
    meta = {"name": name, "namespace": "shop", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def change(what: str, value: Manifest) -> Change:
    """Return an event."""
    return Change(cast("Any", what), value)


@dataclass
class Ticks:
    """A clock that moves a second at each look."""

    at: datetime = datetime(2026, 11, 25, 6, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the next second."""
        self.at += timedelta(seconds=1)
        return self.at


@dataclass
class Server:
    """A client whose lists and watches are scripts: each watch plays the next, and the last one goes on for ever."""

    listed: list[Any]
    """A Listed, pages of them, or an error, for each list."""
    played: list[list[Any]]
    """Events, or an error that ends it, for each watch."""
    asked: dict[str, Any] = field(default_factory=dict)
    watched_from: list[str] = field(default_factory=list)
    lists: int = 0
    kind: Kind = KIND
    go: asyncio.Event = field(default_factory=asyncio.Event)
    """Lets a watch that waits (`...` in its script) go on."""

    @property
    def kinds(self) -> "Server":
        """Be its own discovery."""
        return self

    async def of(self, api_version: str, name: str) -> Kind:
        """Return the one kind."""
        assert (api_version, name) == ("v1", "ConfigMap")
        return self.kind

    async def pages(self, kind: Kind, namespace: str | None = None) -> AsyncIterator[Listed]:
        """Play the next list."""
        assert kind == self.kind
        assert namespace in ("shop", None)
        found = self.listed[min(self.lists, len(self.listed) - 1)]
        self.lists += 1
        for page in found if isinstance(found, list) else [found]:
            if isinstance(page, Exception):
                raise page
            yield page

    async def watch(self, kind: Kind, version: str, namespace: str | None, opened: Callable[[], None]) -> AsyncGenerator[Change, None]:
        """Play the next watch."""
        assert kind == self.kind
        assert namespace in ("shop", None)
        self.watched_from.append(version)
        script = self.played[min(len(self.watched_from), len(self.played)) - 1]
        if script and script[0] is DOWN:
            raise DOWN
        opened()
        for step in script:
            if step is ...:
                await self.go.wait()
            elif isinstance(step, Exception):
                raise step
            else:
                yield step
        if len(self.watched_from) >= len(self.played):
            await asyncio.Event().wait()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Return what the test put there, or raise it."""
        assert kind == self.kind
        assert namespace in ("shop", "elsewhere")
        found = self.asked.get(name)
        if isinstance(found, Exception):
            raise found
        return cast("Manifest | None", found)


def play(server: Server, work: Callable[[Live, list[int]], Awaitable[None]], *keys: ObjectKey, silence_s: float = 60.0) -> None:
    """Follow some keys and do what a test does; no pause is waited for."""
    woken: list[int] = []

    async def inside() -> None:
        parts = LiveParts(cast("Client", server), lambda: woken.append(1), Ticks(), lambda: 0.5, silence_s)
        live = Live(parts)
        live.follow(dict.fromkeys(keys, "v1"))
        try:
            async with asyncio.timeout(10):
                await work(live, woken)
        finally:
            await live.close()

    asyncio.run(inside())


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_S", 0.0)


async def until(said: Callable[[], object]) -> None:
    """Let the loop run until something holds."""
    while not said():  # noqa: ASYNC110 (the loop itself is what is waited for)
        await asyncio.sleep(0)


def test_what_is_listed_and_what_changes_is_there() -> None:
    """The list, then every event: added, modified, deleted; each wakes and is told once, and a bookmark is nothing."""
    events = [change("MODIFIED", config("a", 5, x="2")), change("BOOKMARK", config("", 6)), change("DELETED", config("b", 7, x="1"))]
    server = Server([Listed([config("a", 3, x="1"), config("b", 2, x="1"), config("other", 1)], "4")], [[..., *events]])

    async def work(live: Live, woken: list[int]) -> None:
        assert not live.get(A).known
        await live.fresh()
        assert live.changes() == {A, B}
        assert live.changes() == frozenset()
        assert live.get(ObjectKey("", "ConfigMap", "shop", "other")).known is False
        before = len(woken)
        server.go.set()
        await until(lambda: live.get(B).object is None)
        look = live.get(A)
        assert look.object is not None
        assert (look.object["data"], look.known, look.stale) == ({"x": "2"}, True, None)
        assert live.get(B).known
        assert live.changes() == {A, B}
        assert len(woken) - before == 2

    play(server, work, A, B)
    assert server.watched_from == ["4"]


def test_a_write_that_changes_nothing_wakes_nobody() -> None:
    """Another version and the time of an owner are no change; another value or another owner is one."""
    row = {"manager": "m", "operation": "Update", "time": "1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}
    touched, taken = config("a", 4, x="1"), config("a", 5, x="1")
    touched["metadata"]["managedFields"] = [row | {"time": "2"}]
    taken["metadata"]["managedFields"] = [row | {"manager": "n"}]
    first = config("a", 3, x="1")
    first["metadata"]["managedFields"] = [row]
    server = Server([Listed([first], "3")], [[change("MODIFIED", touched), ..., change("MODIFIED", taken)]])

    async def work(live: Live, woken: list[int]) -> None:
        await until(lambda: (live.get(A).object or {}).get("metadata", {}).get("resourceVersion") == "4")
        digest = live.digest(A)
        assert live.changes() == {A}
        server.go.set()
        await until(lambda: live.digest(A) != digest)
        assert live.changes() == {A}

    play(server, work, A)


def test_a_watch_that_is_too_old_begins_with_a_list_and_finds_what_went() -> None:
    """After 410 what the new list does not hold is gone, and what it holds is taken in."""
    expired = ExpiredError("SP688", "too far back", where="x", fix="y")
    lists = [Listed([config("a", 3), config("b", 3)], "3"), Listed([config("b", 9, x="new")], "9")]
    server = Server(lists, [[expired], []])

    async def work(live: Live, woken: list[int]) -> None:
        await until(lambda: len(server.watched_from) == 2)
        found = live.get(B).object
        assert live.get(A) == replace(live.get(A), object=None, known=True)
        assert found is not None
        assert found["data"] == {"x": "new"}

    play(server, work, A, B)
    assert (server.watched_from, server.lists) == (["3", "9"], 2)


def test_a_list_that_grows_too_old_in_its_middle_begins_anew() -> None:
    """Half a list is never taken for the whole: nothing is gone because its page did not come."""
    conflict = ConflictError("SP685", "too old", where="x", fix="y")
    whole = Listed([config("a", 3)], "3")
    server = Server([[whole, conflict], [whole, Listed([config("b", 3)], "3")]], [[]])

    async def work(live: Live, woken: list[int]) -> None:
        await live.fresh()
        assert live.get(B).object is not None

    play(server, work, A, B)
    assert server.lists == 2


def test_a_broken_stream_goes_on_where_it_was_and_says_since_when_it_is_stale() -> None:
    """What is known stays readable; the first moment counts however often it fails, and when it is back nothing is stale."""
    server = Server([Listed([config("a", 3)], "3")], [[change("MODIFIED", config("a", 5)), DOWN], [DOWN], [DOWN], [...]])
    seen: list[Any] = []

    async def work(live: Live, woken: list[int]) -> None:
        await until(lambda: live.stale() and live.get(A).known)
        await until(lambda: len(server.watched_from) >= 2 and live.stale())
        seen.append(live.get(A))
        await until(lambda: len(server.watched_from) >= 3 and live.stale())
        seen.append(live.get(A))
        await live.fresh()
        assert live.get(A).stale is None

    play(server, work, A)
    assert server.watched_from == ["3", "5", "5", "5"]
    assert server.lists == 1
    assert seen[0].stale == seen[1].stale
    assert seen[0].stale.reason == "the connection broke"
    assert seen[0].object is not None


def test_what_cannot_be_listed_is_not_known_rather_than_gone() -> None:
    """Without the right to look, or with an answer that makes no sense, nothing is said about the objects but why."""
    refused = NotAllowedError("SP683", "may not list", where="x", fix="y")
    server = Server([refused, Listed([{"metadata": 7}], "1"), refused], [[]])

    async def work(live: Live, woken: list[int]) -> None:
        await until(lambda: server.lists >= 3)
        look = live.get(A)
        assert (look.object, look.known) == (None, False)
        assert look.stale is not None
        assert look.stale.reason in (
            "SP683: may not list",
            "the server's answer cannot be understood: AttributeError(\"'int' object has no attribute 'get'\")",
        )

    play(server, work, A)


def test_a_stream_that_falls_silent_is_opened_anew() -> None:
    """A connection may be dead without anybody saying so: without a sign of life it is left and opened from the same version."""
    server = Server([Listed([config("a", 3)], "3")], [[...], [...], [...]])

    async def work(live: Live, woken: list[int]) -> None:
        await until(lambda: len(server.watched_from) == 3)
        assert not live.stale()

    play(server, work, A, silence_s=0.01)
    assert server.watched_from == ["3", "3", "3"]
    assert server.lists == 1


def test_a_kind_that_cannot_be_watched_is_listed_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some aggregated kinds have no watch."""
    monkeypatch.setattr(module, "_POLL_S", 0.0)
    server = Server(
        [Listed([config("a", 3)], "3"), Listed([config("a", 4, x="2")], "4")], [[]], kind=replace(KIND, verbs=frozenset({"list"}))
    )

    async def work(live: Live, woken: list[int]) -> None:
        await until(lambda: (live.get(A).object or {}).get("data") == {"x": "2"})

    play(server, work, A)
    assert server.watched_from == []


def test_what_is_followed_later_is_asked_for_once() -> None:
    """An object that its stream has passed over is read alone; until then it is not known, and what is no longer followed is forgotten."""
    server = Server([Listed([config("a", 3), config("b", 3)], "3")], [[]], asked={"b": config("b", 3)})

    async def work(live: Live, woken: list[int]) -> None:
        await live.fresh()
        assert live.get(B).known is False
        live.follow({A: "v1", B: "v1"})
        assert live.get(B).known is False
        await live.fresh()
        assert live.get(B).object is not None
        live.follow({B: "v1"})
        assert live.get(A).known is False
        live.follow({})
        assert (live.get(B).known, live.stale()) == (False, {})

    play(server, work, A)
    assert server.lists == 1


def test_when_asking_fails_the_stream_begins_anew() -> None:
    """What could not be read alone comes with a list."""
    server = Server([Listed([config("a", 3)], "3"), Listed([config("a", 3), config("b", 4)], "4")], [[...], [...]], asked={"b": DOWN})

    async def work(live: Live, woken: list[int]) -> None:
        await live.fresh()
        live.follow({A: "v1", B: "v1"})
        await until(lambda: live.get(B).object is not None)

    play(server, work, A)
    assert server.lists == 2


def test_what_we_wrote_ourselves_is_seen_at_once_and_never_goes_back() -> None:
    """The answer of an apply is in the picture before its event; an older event or answer does not undo it, nor bring back what went."""
    events = [change("MODIFIED", config("a", 5, x="old")), change("DELETED", config("b", 8))]
    server = Server([Listed([config("a", 3), config("b", 3)], "3")], [[..., *events]])

    async def work(live: Live, woken: list[int]) -> None:
        await live.fresh()
        live.learn(config("a", 6, x="ours"))
        live.learn(config("stranger", 6))
        assert live._store.version(ObjectKey("", "ConfigMap", "shop", "stranger")) == ""
        server.go.set()
        await until(lambda: live.get(B).object is None)
        live.learn(config("b", 7))
        assert live.get(B).object is None
        found = live.get(A).object
        assert found is not None
        assert found["data"] == {"x": "ours"}
        live.learn(config("b", 9))
        assert live.get(B).object is not None

    play(server, work, A, B)


def test_what_we_make_while_a_list_is_read_is_not_gone() -> None:
    """A list that is older than the answer of our own apply says nothing about it."""
    expired = ExpiredError("SP688", "too far back", where="x", fix="y")
    server = Server([Listed([config("a", 3)], "4"), Listed([config("a", 3)], "6")], [[..., expired], [...]])

    async def work(live: Live, woken: list[int]) -> None:
        await live.fresh()
        live.learn(config("b", 7, x="ours"))
        server.go.set()
        await until(lambda: len(server.watched_from) == 2)
        assert live.get(B).object is not None

    play(server, work, A, B)
    assert server.watched_from == ["4", "6"]


def test_what_went_while_streams_were_exchanged_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One stream takes the place of many: what it does not list went meanwhile, though another stream had brought it."""
    monkeypatch.setattr(module, "_NAMESPACES", 1)
    server = Server([Listed([config("a", 3), config("b", 3)], "3"), Listed([config("a", 3)], "9")], [[...], [...]])
    other = ObjectKey("", "ConfigMap", "elsewhere", "x")

    async def work(live: Live, woken: list[int]) -> None:
        await live.fresh()
        live.follow({A: "v1", B: "v1", other: "v1"})
        assert live.get(B).stale is not None
        await live.fresh()
        assert live.get(A).object is not None
        assert live.get(B).object is None
        assert live.get(B).known
        assert B in live.changes()

    play(server, work, A, B)


def test_scopes_are_namespaces_until_there_are_many() -> None:
    """A stream for each namespace of a kind, one for all of them when they are very many, and one for what has no namespace."""
    few = {ObjectKey("apps", "Deployment", f"n{number}", "x"): "apps/v1" for number in range(8)}
    role = {ObjectKey("rbac.authorization.k8s.io", "ClusterRole", "", "x"): "rbac.authorization.k8s.io/v1"}
    assert scopes_of(few | role) == {Scope("apps/v1", "Deployment", f"n{number}") for number in range(8)} | {
        Scope("rbac.authorization.k8s.io/v1", "ClusterRole")
    }
    assert scopes_of(few | {ObjectKey("apps", "Deployment", "n8", "x"): "apps/v1"}) == {Scope("apps/v1", "Deployment")}


def test_the_pause_doubles_has_jitter_and_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many clients that lost one server do not come back at one moment, and none waits for ever."""
    monkeypatch.undo()
    assert [backoff_s(failures, 0.5) for failures in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert (backoff_s(99, 0.0), backoff_s(99, 1.0)) == (15.0, 45.0)


def test_a_status_wakes_and_keeps_a_verdict() -> None:
    """Health reads the status, so its change is one; a comparison does not, so its digest stays."""
    store = Store()
    store.keep(A, config("a", 3, x="1"))
    digest = store.digest(A)
    assert store.keep(A, config("a", 4, x="1") | {"status": {"ready": True}})
    assert store.digest(A) == digest != ""
    assert store.keep(A, config("a", 5, x="2") | {"status": {"ready": True}})
    assert store.digest(A) != digest
    assert store.digest(B) == ""


def test_objects_lie_compressed_and_come_back_whole() -> None:
    """What is read is a copy of its own, and much smaller where it lies."""
    store, value = Store(), config("a", 3, **{f"key{number}": "value " * 20 for number in range(50)})
    assert store.keep(A, value)
    found = store.get(A)
    assert found == value
    assert found is not None
    found["data"].clear()
    assert store.get(A) == value
    assert store.size_bytes() < 1000
