"""Applications that wait for others: names are checked, and a circle is found wherever it leads, written out as it is walked."""

import pytest

from setpoint.core.errors import ConfigError
from setpoint.promotion.config import parse_setpoint
from setpoint.promotion.dependencies import dependency_findings, place_of, resolve

HEAD = "apiVersion: setpoint.dev/v1alpha1\nkind: Setpoint\n"


def _faults(apps: str) -> list[tuple[str, str, int]]:
    try:
        document = parse_setpoint(f"{HEAD}apps:\n{apps}".encode())
    except ConfigError as error:
        return [(one.code, one.what, one.line) for one in error.findings]
    found = dependency_findings(document, {"made"}, lambda name: name in ("prod", "shared"), ["prod", "shared"])
    return [(one.code, one.what, one.line) for one in found]


def test_what_is_waited_for_is_there() -> None:
    """An unknown name and what is no name are told with their line; several environments may be named."""
    assert _faults("  shop: {dependsOn: [db, queue@shared]}\n  db: {}\n  queue: {}\n") == []
    ((code, what, line),) = _faults("  shop:\n    dependsOn: [bd]\n  db: {}\n")
    assert (code, what, line) == ("SP562", "there is no application `bd`", 5)
    ((code, _, _),) = _faults("  shop: {dependsOn: ['db@']}\n  db: {}\n")
    assert code == "SP562"


@pytest.mark.parametrize(
    ("apps", "circle"),
    [
        ("  a: {dependsOn: [b]}\n  b: {dependsOn: [c]}\n  c: {dependsOn: [a]}\n", "a -> b -> c -> a"),
        ("  a: {dependsOn: [a]}\n", "a -> a"),
        ("  a: {dependsOn: ['b@prod']}\n  b: {dependsOn: [a]}\n", "a@prod -> b@prod -> a@prod"),
        ("  a: {dependsOn: ['a@prod']}\n", "a@prod -> a@prod"),
    ],
)
def test_a_circle_is_written_out(apps: str, circle: str) -> None:
    """Also one that leads through another environment."""
    ((code, what, _),) = _faults(apps)
    assert code == "SP563"
    assert what.endswith(circle)


def test_an_environment_that_is_not_there_is_found_and_what_a_generator_makes_is_there() -> None:
    """Only all files together tell."""
    assert _faults("  a: {dependsOn: ['b@prd']}\n  b: {}\n") == [("SP562", "there is no environment `prd`", 4)]
    assert _faults("  a: {dependsOn: [made, made@prod]}\n") == []


def test_applications_wait_in_order_and_circles_are_named() -> None:
    """What is waited for comes first; a circle is told once, and who only waits for it is not in it."""
    assert resolve({"shop": ["db", "auth"], "auth": ["db"], "db": []}).order == ("db", "auth", "shop")
    knot = resolve({"a": ["b"], "b": ["c"], "c": ["a", "b"], "waits": ["a"], "free": [], "self": ["self"]})
    assert (knot.cycles, knot.order) == ((("a", "b", "c", "a"), ("self", "self")), ("free",))


def test_an_entry_means_the_own_environment_unless_it_names_one() -> None:
    """`db` is that of the same environment."""
    assert (place_of("db", "prod"), place_of("db@shared", "prod")) == (("db", "prod"), ("db", "shared"))
