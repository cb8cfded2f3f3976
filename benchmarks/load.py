"""An open-loop load: requests leave by a schedule that no answer holds up, each is sent once, and each answer is checked.

Called by the rollout benchmark. Every class has its own rate; kept-alive connections are a pool that grows when all of it is busy. A
connection that the other side has closed before a request is written is replaced, as every client does; one that closes later has lost it.
"""

import asyncio
import hashlib
import threading
import time
from collections import deque
from dataclasses import dataclass, field

_TIMEOUT_S = 60.0
_BODY = b"0123456789abcdef" * 4096
BODY_DIGEST = hashlib.sha256(_BODY).hexdigest()
SLOW_S = 10


@dataclass(frozen=True)
class Kind:
    """A class of requests."""

    name: str
    rate: float
    """Requests a second."""
    method: str = "GET"
    path: str = "/"
    keep: bool = False


KINDS = (
    Kind("GET, a new connection each", 25),
    Kind("GET, kept-alive connections", 25, keep=True),
    Kind("POST of 64 KiB, a new connection each", 8, "POST"),
    Kind("POST of 64 KiB, kept-alive connections", 8, "POST", keep=True),
    Kind(f"GET of {SLOW_S} s, a new connection each", 2, path="/slow"),
    Kind(f"GET of {SLOW_S} s, kept-alive connections", 2, path="/slow", keep=True),
)


@dataclass
class Tally:
    """What became of the requests of one class."""

    good: int = 0
    faults: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    """Seconds from the scheduled moment to the whole answer."""
    late_s: float = 0.0
    """How far the generator itself fell behind its schedule, at worst."""
    connections: int = 0


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Load(threading.Thread):
    """Sends all classes to one port until it is stopped; `tallies` is to be read afterwards."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._done = threading.Event()
        self.tallies = {kind.name: Tally() for kind in KINDS}

    def run(self) -> None:
        """Send until stopped, then wait for what is in flight."""
        asyncio.run(self._all())

    def stop(self) -> None:
        """End the schedule, and wait for every answer."""
        self._done.set()
        self.join()

    async def _all(self) -> None:
        await asyncio.gather(*(self._schedule(kind, self.tallies[kind.name]) for kind in KINDS))

    async def _schedule(self, kind: Kind, tally: Tally) -> None:
        pool: deque[Connection] = deque()
        sent: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        number = 0
        while not self._done.is_set():
            due = began + number / kind.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tally.late_s = max(tally.late_s, time.monotonic() - due)
            task = asyncio.create_task(self._once(kind, tally, pool, due))
            sent.add(task)
            task.add_done_callback(sent.discard)
            number += 1
        await asyncio.gather(*sent)
        for _, writer in pool:
            writer.close()

    async def _once(self, kind: Kind, tally: Tally, pool: deque[Connection], due: float) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                fault = await self._exchange(kind, tally, pool)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            fault = f"{type(error).__name__}: {error}"
        if fault:
            tally.faults.append(f"{time.strftime('%H:%M:%S')} after {time.monotonic() - due:.2f} s: {fault}")
        else:
            tally.good += 1
            tally.took.append(time.monotonic() - due)

    async def _exchange(self, kind: Kind, tally: Tally, pool: deque[Connection]) -> str:
        """Send one request, once; returns what was wrong with the answer."""
        reader, writer = await self._connection(tally, pool)
        kept = False
        try:
            body = _BODY if kind.method == "POST" else b""
            head = f"{kind.method} {kind.path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n"
            writer.write(head.encode() + (b"" if kind.keep else b"Connection: close\r\n") + b"\r\n" + body)
            await writer.drain()
            answer = await reader.readuntil(b"\r\n\r\n")
            lines = answer.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
            text = (await reader.readexactly(int(headers["content-length"]))).decode("latin-1")
            kept = kind.keep and headers.get("connection", "").lower() != "close"
        except KeyError as error:
            return f"an answer without {error}: {lines[0]}"
        finally:
            if kept:
                pool.append((reader, writer))
            else:
                writer.close()
        right = text == BODY_DIGEST if kind.method == "POST" else text.startswith("r")
        return "" if lines[0].split()[1] == "200" and right else f"{lines[0]} {text[:80]}"

    async def _connection(self, tally: Tally, pool: deque[Connection]) -> Connection:
        while pool:
            reader, writer = pool.popleft()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        tally.connections += 1
        return await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
