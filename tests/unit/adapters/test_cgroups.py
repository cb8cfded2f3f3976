"""Where limits are put: version 2 and version 1 of control groups, as a tree of files."""

from pathlib import Path

from setpoint.adapters.host.cgroups import ControlGroups
from setpoint.reconcile.model import Resources

BOTH = Resources(memory_bytes=64 << 20, cpu_millis=500)


def tree(root: Path, files: dict[str, str]) -> Path:
    """Make a tree of files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def own(root: Path, text: str) -> Path:
    """What /proc/self/cgroup says."""
    path = root / "own"
    path.write_text(text)
    return path


def test_version_2_uses_the_nearest_group_that_hands_controllers_on(tmp_path: Path) -> None:
    """A process lies in a leaf, so its replicas become neighbours of the leaf; swap is bounded where the kernel has it."""
    mount = tree(
        tmp_path / "cgroup",
        {
            "cgroup.controllers": "cpu memory pids",
            "cgroup.subtree_control": "cpu memory",
            "cgroup.procs": "",
            "app/cgroup.subtree_control": "memory cpu",
            "app/cgroup.procs": "",
            "app/server/cgroup.subtree_control": "",
            "app/server/cgroup.procs": "1",
            "app/server/memory.swap.max": "max",
        },
    )
    groups = ControlGroups("setpoint-x", mount, own(tmp_path, "0::/app/server\n"))
    assert groups.why_not() == ""
    (made,) = groups.make("web-1", BOTH)
    assert made == str(mount / "app" / "setpoint-x" / "web-1")
    assert (Path(made) / "memory.max").read_text() == str(64 << 20)
    assert (Path(made) / "memory.swap.max").read_text() == "0"
    assert (Path(made) / "cpu.max").read_text() == "50000 100000"
    assert (mount / "app" / "setpoint-x" / "cgroup.subtree_control").read_text() == "+memory +cpu"


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    """Memory with swap, and the processor's quota; a group of its own in each."""
    files = {f"{name}/server/cgroup.procs": "1" for name in ("memory", "cpu")}
    mount = tree(tmp_path / "cgroup", {**files, "memory/server/memory.memsw.limit_in_bytes": "x"})
    groups = ControlGroups("setpoint-x", mount, own(tmp_path, "4:memory:/server\n1:cpu:/server\n0::/\n"))
    assert groups.why_not() == ""
    made = sorted(groups.make("web-1", BOTH))
    assert made == [str(mount / name / "server" / "setpoint-x" / "web-1") for name in ("cpu", "memory")]
    assert (Path(made[0]) / "cpu.cfs_quota_us").read_text() == "50000"
    assert (Path(made[1]) / "memory.limit_in_bytes").read_text() == str(64 << 20)
    assert (Path(made[1]) / "memory.memsw.limit_in_bytes").read_text() == str(64 << 20)


def test_a_machine_without_groups_says_so(tmp_path: Path) -> None:
    """Nothing to write to, a controller that is not handed on: the sentence names what is missing, and only for what was asked."""
    nothing = ControlGroups("setpoint-x", tmp_path, own(tmp_path, "0::/\n"))
    assert nothing.make("web-1", BOTH) == ()
    assert "memory and cpu" in nothing.missing(BOTH)
    assert nothing.missing(Resources()) == ""
    mount = tree(tmp_path / "cgroup", {"cgroup.controllers": "", "cgroup.subtree_control": "memory", "cgroup.procs": ""})
    half = ControlGroups("setpoint-x", mount, own(tmp_path, "0::/\n"))
    assert half.missing(Resources(memory_bytes=1)) == ""
    assert half.missing(BOTH).startswith("limits of cpu are not enforced on this machine")


def test_no_limit_makes_no_group(tmp_path: Path) -> None:
    """A replica without limits stays where the server is."""
    mount = tree(tmp_path / "cgroup", {"cgroup.controllers": "", "cgroup.subtree_control": "memory cpu", "cgroup.procs": ""})
    assert ControlGroups("setpoint-x", mount, own(tmp_path, "0::/\n")).make("web-1", Resources()) == ()
    assert not (mount / "setpoint-x").exists()
