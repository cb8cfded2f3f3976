"""What may be removed without a person, pass by pass: the inventory grows by what a pin wants anew, and no hold wears off by that."""

from setpoint.reconcile.prune.decide import decide
from setpoint.reconcile.prune.model import Inventory, set_of


def _inventory(*names: str, pin: str = "p1") -> Inventory:
    return Inventory("web", "cloud", dict.fromkeys(names, pin))


def test_what_is_held_stays_held_when_new_names_were_written() -> None:
    """Two of two renamed: the second pass sees four, and half of four would be within the budget."""
    first = decide(_inventory("a", "b"), ["c", "d"], "p2", "50%", ())
    assert first.held is not None
    assert first.keep == ("a", "b")
    grown = Inventory("web", "cloud", {"a": "p1", "b": "p1", "c": "p2", "d": "p2"}, held=first.held)
    for pin in ("p2", "p3"):
        again = decide(grown, ["c", "d"], pin, "50%", ())
        assert (again.remove, again.keep) == ((), ("a", "b"))
        assert again.held is not None
        assert again.held.why == first.held.why


def test_a_confirmation_holds_until_all_of_it_is_gone() -> None:
    """A removal in several steps is confirmed once; another pin, or more objects, need another word."""
    first = decide(_inventory("a", "b", "c"), ["d"], "p2", "1", ())
    assert first.held is not None
    left = Inventory("web", "cloud", {"a": "p1", "b": "p1", "d": "p2"}, held=first.held, confirmed=first.held.set)
    assert decide(left, ["d"], "p2", "1", ()).remove == ("a", "b")
    assert decide(left, ["d"], "p3", "1", ()).remove == ()
    more = Inventory("web", "cloud", {"a": "p1", "x": "p1", "y": "p1", "d": "p2"}, held=first.held, confirmed=first.held.set)
    assert decide(more, ["d"], "p2", "1", ()).remove == ()


def test_what_people_approved_with_the_pin_is_removed() -> None:
    """An approval is for exactly these objects, as people read them."""
    names = ("/ConfigMap/n/a", "/ConfigMap/n/b")
    held = decide(_inventory(*names), ["/ConfigMap/n/c"], "p2", "1", ()).held
    assert held is not None
    assert held.set == set_of(names, "p2")
    both = Inventory("web", "cloud", dict.fromkeys(names, "p1"), held=held)
    assert decide(both, ["/ConfigMap/n/c"], "p2", "1", ("ConfigMap/a", "ConfigMap/b")).remove == names
