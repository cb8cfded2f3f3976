"""The `live` fixture: one home with a running server per test module."""

from collections.abc import Iterator

import pytest

from live_home import LiveHome, running_home


@pytest.fixture(scope="module")
def live() -> Iterator[LiveHome]:
    """A home whose server runs, with an empty source repository and a registered delivery repository."""
    with running_home() as found:
        yield found
