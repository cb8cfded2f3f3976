"""The trust root is written once, when the home is new, and never again for a home that lost its journal."""

from pathlib import Path
from typing import Any

import pytest

from setpoint.app.application import Store
from setpoint.app.home import Home
from setpoint.app.trust import ensure_trust
from setpoint.app.wiring import open_store
from setpoint.core.errors import UserError


class Keys:
    """A signer that knows its public keys."""

    def __init__(self) -> None:
        self.keys = {"gate": "key"}

    def public_keys(self) -> dict[str, str]:
        """Return them."""
        return self.keys

    def check_keys(self) -> dict[str, str]:
        """Return them as they are on disk."""
        return self.keys


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh home, opened."""
    home = Home(tmp_path / "home")
    home.prepare()
    return open_store(home)


def test_a_new_home_writes_its_trust_root_once(store: Store) -> None:
    """The first start journals the keys; the second reads them."""
    signer: Any = Keys()
    assert ensure_trust(store, signer).keys == {"gate": "key"}
    assert ensure_trust(store, signer).keys == {"gate": "key"}
    assert len(store.journal) == 1


def test_an_emptied_journal_gets_no_new_trust_root(store: Store) -> None:
    """A registry with content and no journal is no new home: refused, with the way out."""
    store.oci.put_blob("hello/web", b"bytes")
    signer: Any = Keys()
    with pytest.raises(UserError, match="SP004"):
        ensure_trust(store, signer)


def test_keys_that_are_not_the_homes_are_named_at_the_start(store: Store) -> None:
    """Another key than the journal's is refused before anything is served, with its file."""
    signer: Any = Keys()
    ensure_trust(store, signer)
    signer.keys = {"gate": "other"}
    with pytest.raises(UserError, match="SP406") as caught:
        ensure_trust(store, signer)
    assert caught.value.where == str(store.home.keys / "gate.pem")
