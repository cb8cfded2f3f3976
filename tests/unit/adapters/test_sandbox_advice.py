"""What doctor and a failed task say where bubblewrap cannot work: which obstacle it is, and the one line that helps."""

from pathlib import Path

import pytest

from setpoint.adapters import sandbox
from setpoint.app import doctor


def kernel(root: Path, **values: str) -> Path:
    """Return a /proc/sys with some settings (`user__max_user_namespaces`)."""
    for name, value in values.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")
    return root


@pytest.mark.parametrize(
    ("settings", "why", "fix"),
    [
        ({"kernel__apparmor_restrict_unprivileged_userns": "1"}, "AppArmor", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
        ({"kernel__unprivileged_userns_clone": "0"}, "the kernel forbids", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ({"user__max_user_namespaces": "0"}, "allows no user namespaces", "sysctl -w user.max_user_namespaces=15000"),
        ({"user__max_user_namespaces": "5000", "kernel__unprivileged_userns_clone": "1"}, "a container?", "--security-opt seccomp"),
        ({}, "a container?", "--security-opt seccomp"),
    ],
)
def test_the_obstacle_is_named_with_the_line_that_removes_it(tmp_path: Path, settings: dict[str, str], why: str, fix: str) -> None:
    """AppArmor, a sysctl or a container: each has its own words and its own fix."""
    found = sandbox.obstacle("bwrap: setting up uid map: Permission denied", kernel(tmp_path, **settings))
    assert why in found.why
    assert fix in found.fix


def test_any_other_fault_shows_bubblewraps_own_words(tmp_path: Path) -> None:
    """Nothing is guessed."""
    assert "no such option" in sandbox.obstacle("bwrap: no such option", kernel(tmp_path)).why


def test_a_machine_without_bubblewrap_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doctor and the sentence of a failed task say the same."""
    sandbox.obstacle_here.cache_clear()
    monkeypatch.setattr("shutil.which", lambda _name: None)
    try:
        check = doctor._sandbox()
        assert (check.ok, check.found, check.fix) == (False, "bubblewrap is not installed", sandbox.INSTALL_HINT)
        assert sandbox.probe() == f"bubblewrap is not installed; {sandbox.INSTALL_HINT}"
    finally:
        sandbox.obstacle_here.cache_clear()
