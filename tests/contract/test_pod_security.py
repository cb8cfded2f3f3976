"""Our Pod Security Standards judge every pod of the Kubernetes project's own test data as it says, for each level and version."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from setpoint.promotion.pod_standard import NEWEST, OLDEST, PodStandard, standard_of
from setpoint.reconcile import manifests
from setpoint.reconcile.pod_security.decide import controls, faults_of
from setpoint.reconcile.pod_specs import pod_specs

TOOL = Path(__file__).resolve().parents[2] / "tools" / "pod-security" / "data"


STRICTER = {
    "hostpathvolumes": "restrictedvolumes",
    "seccompprofile_baseline": "seccompprofile_restricted",
    "capabilities_baseline": "capabilities_restricted",
    "procmount": "procmount_restricted",
}
"""Controls of `baseline` that a stricter one of `restricted` stands for."""
OVERLAPS = {
    "windowshostprocess": {"hostnamespaces"},
    "privileged": {"allowprivilegeescalation"},
    "allowprivilegeescalation": {"capabilities_restricted"},
}
"""What a pod that breaks the one control has to break, or breaks in the data, as well."""


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the test data, out of a pinned Go module."""
    done = subprocess.run([TOOL], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"INCOMPLETE: needs go and its module k8s.io/pod-security-admission: {done.stderr.strip()[-200:]}")
    return Path(done.stdout.strip())


def standards() -> Iterator[PodStandard]:
    """Yield every standard that we know."""
    for minor in range(OLDEST, NEWEST + 1):
        yield standard_of(f"baseline:v1.{minor}")
        yield standard_of(f"restricted:v1.{minor}")


def found(file: Path, standard: PodStandard) -> set[str]:
    """Return the controls that the pods of a file break, in lower case."""
    objects = [manifest.value for manifest in manifests.load(file.read_bytes(), file.name)]
    pods = list(pod_specs(objects))
    assert len(pods) == 1, file
    return {fault.control.casefold() for fault in faults_of(pods, standard)}


@pytest.mark.parametrize("standard", list(standards()), ids=str)
def test_the_projects_own_pods_are_judged_as_it_says(data: Path, standard: PodStandard) -> None:
    """What has to pass passes; what has to fail is told by the control that its file is named after, others only where they overlap."""
    folder = data / standard.level / f"v1.{standard.minor}"
    passing, failing = sorted((folder / "pass").glob("*.yaml")), sorted((folder / "fail").glob("*.yaml"))
    assert len(passing) > 10
    assert len(failing) > 20
    wrong = {file.name: broken for file in passing if (broken := found(file, standard))}
    known = {control.name.casefold() for control in controls(standard)}
    for file in failing:
        name = file.stem.rstrip("0123456789")
        wanted = {name if name in known else STRICTER[name]}
        broken = found(file, standard)
        if not wanted <= broken <= wanted | OVERLAPS.get(name, set()):
            wrong[file.name] = broken
    assert wrong == {}


def test_every_version_of_the_data_is_known(data: Path) -> None:
    """The newest version of the module is the newest that we know, and every control of ours has a file there."""
    known = {int(folder.name.removeprefix("v1.")) for folder in (data / "restricted").iterdir()}
    assert max(known) == NEWEST
    names = {file.stem.rstrip("0123456789") for file in (data / "restricted" / f"v1.{NEWEST}" / "fail").iterdir()}
    assert {control.name.casefold() for control in controls(PodStandard("restricted", NEWEST))} <= names
