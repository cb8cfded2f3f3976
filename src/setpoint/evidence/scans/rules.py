"""Which rule a result of SARIF is about, and what that rule says of it: its level and its security severity; pure.

Called by `sarif`. Rules lie in the driver or in extensions of the tool, and are named by index, id or guid; an id may go on below that of
its rule (`CA1000/1`). Source: SARIF 2.1.0 errata 01, sections 3.27.5 to 3.27.7, 3.27.10, 3.52.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from setpoint.evidence.scans import cvss
from setpoint.evidence.scans.reading import Place, child, index, number, objects, short, text, word

LEVELS: Final = ("error", "warning", "note", "none")
Rule = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Component:
    """The driver or an extension of a tool, with its rules."""

    name: str
    guid: str
    rules: tuple[Rule, ...]
    by_id: dict[str, Rule]
    by_guid: dict[str, Rule]

    def named(self, name: str) -> Rule | None:
        """Return the rule of an id, or the nearest whose id the given one goes on below."""
        while name:
            if name in self.by_id:
                return self.by_id[name]
            name = name.rpartition("/")[0]
        return None

    def at(self, position: int, name: str) -> Rule | None:
        """Return the rule at an index, unless it has another id than the result says."""
        if not 0 <= position < len(self.rules):
            return None
        rule = self.rules[position]
        own = rule.get("id")
        return rule if not name or not own or name == own or name.startswith(f"{own}/") else None


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of a run, and how its invocations configured them."""

    driver: Component
    extensions: tuple[Component, ...]
    overrides: tuple[dict[int, str], ...] = field(default=())
    """By invocation: {id() of a rule: level}."""

    def of(self, holder: dict[str, Any], at: Place | None) -> Rule | None:
        """Return the rule of a result, of a reference in `rule`, `ruleIndex` and `ruleId`; None when the tool describes none."""
        return self._found(child(holder, "rule", at), index(holder, "ruleIndex", at), text(holder, "ruleId", at), Place(at, "rule"))

    def referred(self, reference: dict[str, Any], at: Place | None) -> Rule | None:
        """Return the rule of a reference (reportingDescriptorReference)."""
        return self._found(reference, -1, "", at)

    def _found(self, reference: dict[str, Any], position: int, name: str, at: Place | None) -> Rule | None:
        name = text(reference, "id", at) or name
        position = index(reference, "index", at) if reference.get("index") is not None else position
        guid = text(reference, "guid", at)
        component = self._component(child(reference, "toolComponent", at), Place(at, "toolComponent"))
        if (rule := component.at(position, name) or component.named(name)) is not None:
            return rule
        for other in (component, self.driver, *self.extensions):
            if (rule := other.by_guid.get(guid) or other.named(name)) is not None:
                return rule
        return None

    def _component(self, reference: dict[str, Any], at: Place) -> Component:
        position = index(reference, "index", at)
        if 0 <= position < len(self.extensions):
            return self.extensions[position]
        name, guid = text(reference, "name", at), text(reference, "guid", at)
        named = (one for one in self.extensions if (guid and one.guid == guid) or (name and one.name == name))
        return next(named, self.driver)

    def level(self, result: dict[str, Any], rule: Rule | None, at: Place) -> str:
        """Return the level of a result whose kind is `fail`."""
        if written := word(result, "level", at, LEVELS):
            return written
        if rule is None:
            return "warning"
        invocation = index(child(result, "provenance", at), "invocationIndex", Place(at, "provenance"))
        if 0 <= invocation < len(self.overrides) and id(rule) in self.overrides[invocation]:
            return self.overrides[invocation][id(rule)]
        return str(child(rule, "defaultConfiguration", None).get("level") or "warning")


def rules_of(run: dict[str, Any], at: Place) -> Rules:
    """Return the rules of a run; levels that are none are refused where they stand."""
    tool, place = child(run, "tool", at), Place(at, "tool")
    driver = _component(child(tool, "driver", place), Place(place, "driver"))
    rules = Rules(driver, tuple(_component(item, here) for item, here in objects(tool, "extensions", place)))
    overrides = tuple(_overrides(rules, invocation, here) for invocation, here in objects(run, "invocations", at))
    return Rules(rules.driver, rules.extensions, overrides)


def security(rule: Rule | None) -> str:
    """Return the word for a rule's `security-severity`, `unrated` when it has none that can be used."""
    score = number(child(rule, "properties", None).get("security-severity")) if rule is not None else None
    found = cvss.severity(score) if score is not None else "unknown"
    return "unrated" if found in ("unknown", "none") else found


def _component(holder: dict[str, Any], at: Place) -> Component:
    rules = []
    for rule, here in objects(holder, "rules", at):
        text(rule, "id", here)
        child(rule, "properties", here)
        word(child(rule, "defaultConfiguration", here), "level", Place(here, "defaultConfiguration"), LEVELS)
        rules.append(rule)
    # The first of two rules with one id counts, as it would for a reader that searches.
    by_id = {str(rule["id"]): rule for rule in reversed(rules) if rule.get("id")}
    by_guid = {str(rule["guid"]): rule for rule in reversed(rules) if rule.get("guid")}
    return Component(short(holder, "name", at), text(holder, "guid", at), tuple(rules), by_id, by_guid)


def _overrides(rules: Rules, invocation: dict[str, Any], at: Place) -> dict[int, str]:
    found: dict[int, str] = {}
    for override, here in objects(invocation, "ruleConfigurationOverrides", at):
        rule = rules.referred(child(override, "descriptor", here), Place(here, "descriptor"))
        level = word(child(override, "configuration", here), "level", Place(here, "configuration"), LEVELS)
        if rule is not None and level:
            found[id(rule)] = level
    return found
