"""A person at a browser: one headless Chromium, driven over its DevTools pipe; used by tests/flow/test_browser.py.

No driver program and no client library stand in between: the protocol is JSON between two file descriptors.
What a person would notice (a failed request, an error in the console, a page wider than its window) is kept as it happens.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

WAIT_S = 30.0
WIDE, NARROW = (1280, 900), (390, 844)
_FLAGS = (
    *("--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--mute-audio"),
)
_AXE = """(async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.filter(
  (v) => ["serious", "critical"].includes(v.impact)).map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`))()"""


def program() -> str:
    """Return the browser's path, or skip."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("INCOMPLETE: needs chromium (apt-get install chromium)")
    return found


class Chromium:
    """A browser process with one page; `faults` has what went wrong in it so far."""

    def __init__(self, folder: Path, axe: str) -> None:
        self._axe, self._number, self._events = axe, 0, list[dict[str, Any]]()
        self.faults: list[str] = []
        self.pictures = 0
        there, commands = os.pipe()
        answers, back = os.pipe()
        self._write, self._read, self._rest = commands, answers, b""
        argv = [
            program(),
            *_FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "about:blank",
        ]
        # The browser speaks on 3 and 4 by definition.
        shell = ["bash", "-c", f'exec "$@" 3<&{there} 4>&{back}', "chromium", *argv]
        environment = {**os.environ, "HOME": str(folder)}
        with (folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                shell, pass_fds=(there, back), env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        os.close(there)
        os.close(back)
        target = self._send("Target.createTarget", {"url": "about:blank"}, whole=True)["targetId"]
        self._session = self._send("Target.attachToTarget", {"targetId": target, "flatten": True}, whole=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self._send(f"{domain}.enable")
        self.look()

    def close(self) -> None:
        """End the browser."""
        self._send("Browser.close", whole=True)
        self._process.wait(20)
        os.close(self._write)
        os.close(self._read)

    # The protocol.

    def _send(self, method: str, params: dict[str, Any] | None = None, *, whole: bool = False) -> dict[str, Any]:
        """Call a method of the page (or of the whole browser) and return its result; events that come in between are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params or {}}
        if not whole:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        number = self._number
        while True:
            answer = self._receive(WAIT_S)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer.get('error')}"
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self, limit_s: float) -> dict[str, Any]:
        """Return the next message; {} when none comes in time."""
        deadline = time.monotonic() + limit_s
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return {}
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "the browser has gone"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self._notice(message["method"], message["params"])
        return message

    def _notice(self, method: str, params: dict[str, Any]) -> None:
        """Keep an event, and as a fault what a person would call one."""
        self._events.append({"method": method, **params})
        if method == "Runtime.exceptionThrown":
            self.faults.append(f"exception: {params['exceptionDetails']}")
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.faults.append(f"{params['entry']['source']}: {params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "assert"}:
            self.faults.append(f"console: {params['args']}")
        elif method == "Network.loadingFailed" and not params.get("canceled"):
            self.faults.append(f"request failed: {params['errorText']} {params.get('blockedReason', '')}")

    # What a person does.

    def look(self, size: tuple[int, int] = WIDE, scheme: str = "light", *, scripts: bool = True) -> None:
        """Sit before a window of a size, with light or dark as the system's wish, with or without scripts."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == NARROW}
        self._send("Emulation.setDeviceMetricsOverride", metrics)
        self._send("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self._send("Emulation.setScriptExecutionDisabled", {"value": not scripts})

    def visit(self, url: str) -> None:
        """Open an address and wait until it is loaded."""
        self._loading(lambda: self._send("Page.navigate", {"url": url}))

    def follow(self, css: str) -> None:
        """Click what leads to another page, and wait until that is loaded."""
        self._loading(lambda: self.click(css))

    def _loading(self, act: Any) -> None:
        self._events.clear()
        act()
        deadline = time.monotonic() + WAIT_S
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            assert time.monotonic() < deadline, f"the page was not loaded within {WAIT_S} s"
            self._receive(1.0)

    def click(self, css: str) -> None:
        """Click in the middle of the first element that matches, wherever it has to be scrolled to."""
        script = f"""(() => {{ const one = document.querySelector({json.dumps(css)});
            one.scrollIntoView({{block: "center"}}); const b = one.getBoundingClientRect();
            return [b.x + b.width / 2, b.y + b.height / 2]; }})()"""
        x, y = self.ask(script)
        for kind in ("mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1})

    def write(self, css: str, text: str) -> None:
        """Click into a field and type."""
        self.click(css)
        self._send("Input.insertText", {"text": text})

    def key(self, text: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self._send("Input.dispatchKeyEvent", {"type": kind, "key": text, "text": text if kind == "keyDown" else ""})

    # What a person sees.

    def ask(self, script: str) -> Any:
        """Return what an expression gives in the page."""
        answer = self._send("Runtime.evaluate", {"expression": script, "awaitPromise": True, "returnByValue": True})
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self) -> str:
        """Return the words that are on the page."""
        return str(self.ask("document.body.innerText"))

    def html(self) -> str:
        """Return the document as it is now, also when scripts are off."""
        root = self._send("DOM.getDocument")["root"]["nodeId"]
        return str(self._send("DOM.getOuterHTML", {"nodeId": root})["outerHTML"])

    def sees(self, words: str, limit_s: float = WAIT_S) -> None:
        """Wait until words are on the page."""
        deadline = time.monotonic() + limit_s
        while words not in self.text():
            assert time.monotonic() < deadline, f"`{words}` did not come; the page says: {self.text()[:2000]}"
            self._receive(0.1)

    def violations(self) -> list[str]:
        """Return what axe-core finds serious or critical in the page."""
        if self.ask("typeof axe") == "undefined":
            self.ask(self._axe + "; true")
        found: list[str] = self.ask(_AXE)
        return found

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return int(self.ask("document.scrollingElement.scrollWidth - document.documentElement.clientWidth"))

    def picture(self, file: Path) -> None:
        """Keep what is on the page, from top to bottom."""
        data = self._send("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})["data"]
        file.write_bytes(base64.b64decode(data))
        self.pictures += 1
