"""The contract of `pipeline.ports.Toolchain`, on a made-up /usr and on this machine's."""

import subprocess
from pathlib import Path

import pytest

from setpoint.adapters.toolchain import HostToolchain
from setpoint.core import digest

STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9
Description: C library
 more text: with colons

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a root folder with an interpreter, a package database and locally installed things."""
    for folder in ("etc", "var/lib/dpkg", "usr/bin", "usr/local/bin", "usr/local/lib/python3.11/dist-packages/six-1.0.dist-info"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/os-release").write_text("ID=debian\n")
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    (tmp_path / "usr/bin/python3").write_text("#!/bin/sh\necho CPython 3.11.2\n")
    (tmp_path / "usr/bin/python3").chmod(0o755)
    return tmp_path


def test_facts_of_a_root(root: Path) -> None:
    """Version, platform and the count of installed packages are what stands there; the same root gives the same fingerprint."""
    facts = HostToolchain(root).facts()
    assert (facts.python, facts.packages) == ("3.11.2", 2)
    assert facts.platform.startswith("linux/")
    assert digest.is_digest(facts.fingerprint)
    assert HostToolchain(root).facts() == facts


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("var/lib/dpkg/status", STATUS.replace("2.36-9", "2.36-10")),
        ("etc/os-release", "ID=other\n"),
        ("usr/bin/python3", "#!/bin/sh\necho CPython 3.11.20\n"),
        ("usr/local/bin/node", "binary"),
        ("usr/local/lib/python3.11/dist-packages/attrs-2.dist-info", ""),
    ],
)
def test_a_change_is_noticed_by_the_same_object(root: Path, path: str, text: str) -> None:
    """A package, interpreter or local program that changes gives another fingerprint, in spite of the cache."""
    toolchain = HostToolchain(root)
    before = toolchain.facts()
    (root / path).write_text(text)
    assert toolchain.facts().fingerprint != before.fingerprint


def test_removing_a_package_that_left_its_configuration_changes_nothing(root: Path) -> None:
    """Only installed packages count."""
    before = HostToolchain(root).facts()
    (root / "var/lib/dpkg/status").write_text(STATUS.partition("\n\n")[0])
    assert HostToolchain(root).facts() == before


def test_facts_are_cached(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing changed, the interpreter is not started again."""
    toolchain = HostToolchain(root)
    facts = toolchain.facts()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("started again")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert toolchain.facts() is facts


def test_without_interpreter_and_dpkg(root: Path) -> None:
    """A machine without /usr/bin/python3 has no Python version; another package manager's database counts by its bytes."""
    (root / "usr/bin/python3").unlink()
    (root / "var/lib/dpkg/status").unlink()
    (root / "lib/apk/db").mkdir(parents=True)
    (root / "lib/apk/db/installed").write_text("P:musl\nV:1\n")
    before = HostToolchain(root).facts()
    assert before.python == ""
    (root / "lib/apk/db/installed").write_text("P:musl\nV:2\n")
    assert HostToolchain(root).facts().fingerprint != before.fingerprint


def test_facts_of_this_machine() -> None:
    """The interpreter that counts is /usr/bin/python3, not the one that runs this test."""
    facts = HostToolchain().facts()
    wanted = ""
    if Path("/usr/bin/python3").exists():
        done = subprocess.run(["/usr/bin/python3", "--version"], capture_output=True, check=True, env={})
        wanted = done.stdout.decode().split()[1]
    assert facts.python == wanted
    assert facts.packages > 0 or not Path("/var/lib/dpkg/status").exists()
