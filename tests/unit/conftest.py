"""Shared fixtures of the unit tests."""

from pathlib import Path

import pytest
from unit.builders_home import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty home."""
    return World(tmp_path / "home")
