"""The ten-minute story of docs/ten-minutes.md, played line by line as a freshly made unprivileged user from a clean clone.

The page is the script: its shell blocks run in one shell, in order, and what the page promises about the answers is asserted here.
"""

import re
import subprocess
from pathlib import Path

from newcomer import Newcomer

ROOT = Path(__file__).resolve().parents[2]


def page_script() -> str:
    """Return the shell blocks of the page as one script that marks the output of every line."""
    text = (ROOT / "docs" / "ten-minutes.md").read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines() if line.strip()]
    marked = [f"printf '\\n@@ %s\\n' {_quoted(line)}\n{line}" for line in lines]
    return "cd setpoint\n" + "\n".join(marked)


def _quoted(line: str) -> str:
    return "'" + line.split("  #", maxsplit=1)[0].strip().replace("'", "'\\''") + "'"


def test_the_page_can_be_played_as_it_stands(newcomer: Newcomer) -> None:
    """Every command of the page succeeds in order, and the answers say what the page promises."""
    done = newcomer.run(page_script())
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    answers = _answers(done.stdout)
    assert answers["curl -s http://127.0.0.1:7501/"] == ["hello"]
    assert answers["curl -s http://127.0.0.1:7502/"] == ["hello, louder", "hello"]
    assert "may approve" in answers["setpoint why hello production"][0]
    assert "quarantine" in answers["setpoint why hello production"][1]
    assert "9 checks hold" in answers["setpoint verify hello --in production"][0]
    trace = answers["setpoint trace http://127.0.0.1:7502/"][0]
    assert [word for word in ("replica", "image", "pin", "approval", "evidence", "run", "revision") if f"\n{word} " not in trace] == []
    assert "stopped the server" in answers["setpoint down"][0]


def _answers(output: str) -> dict[str, list[str]]:
    """Return {command: outputs in order}."""
    found: dict[str, list[str]] = {}
    for part in output.split("\n@@ ")[1:]:
        command, _, text = part.partition("\n")
        found.setdefault(command, []).append(text.strip())
    return found


def test_nothing_is_left_running(newcomer: Newcomer) -> None:
    """After `setpoint down` no process of the home is left, and the home's folders are closed to others."""
    state = newcomer.folder / "state"
    left = subprocess.run(["pgrep", "-f", str(state)], capture_output=True, text=True, check=False).stdout.split()
    assert left == []
    assert state.stat().st_mode & 0o077 == 0
    ours = [path for path in state.rglob("*") if path.is_file() and "repositories" not in path.parts]  # git's own files lie below 0700
    assert [path for path in ours if path.stat().st_mode & 0o077] == []
