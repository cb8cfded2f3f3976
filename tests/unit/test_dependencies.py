"""docs/decisions/dependencies.md explains exactly the packages that pyproject.toml asks for, with the licences they have."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| [^|]+ \| ([^|]+) \|", re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0].lower()


def _licences() -> dict[str, str]:
    return {name: licence.strip() for name, licence in ROW.findall((ROOT / "docs" / "decisions" / "dependencies.md").read_text())}


def test_every_direct_dependency_has_a_reason_and_no_other() -> None:
    """Whoever adds a package says why, and whoever removes one takes its row along."""
    wanted = [_name(text) for text in (*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"])]
    assert sorted(_licences()) == sorted(wanted)


@pytest.mark.parametrize("name", sorted(_licences()))
def test_the_licence_is_what_the_package_says(name: str) -> None:
    """A package that changes its licence is noticed at the next lock."""
    metadata = importlib.metadata.metadata(name)
    said = " ".join(text for field in ("License-Expression", "License", "Classifier") for text in metadata.get_all(field) or []).upper()
    family = re.match(r"[A-Za-z]+", _licences()[name])
    assert family is not None
    assert family[0].upper() in said
