"""What a build is called."""

import pytest

from setpoint.artifact.version import version_of

COMMIT = "c3c3c3c3" * 5


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([], "42-c3c3c3c"),
        (["v1.9", "v1.10"], "v1.10"),
        (["2.0.0", "2.0.0-rc1"], "2.0.0"),
        (["release/1", "a b", "v1+build"], "42-c3c3c3c"),
        (["release/1", "v1"], "v1"),
        (["latest", "v3"], "v3"),
        (["x" * 129], "42-c3c3c3c"),
    ],
)
def test_the_highest_usable_tag_names_a_build_else_its_place_in_the_line(tags: list[str], expected: str) -> None:
    """Numbers in tags are numbers, a release comes after its candidates, and what no registry takes is left out."""
    assert version_of(tags, 42, COMMIT) == expected
    assert version_of(list(reversed(tags)), 42, COMMIT) == expected
