"""What generators make, and that a fault, or less than before, never takes anything away: the pure part."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.core.documents import Document
from setpoint.core.errors import ConfigError
from setpoint.core.reasons import Outcome, Reason
from setpoint.promotion.config import EnvironmentFile, parse_environment
from setpoint.promotion.generators import decide, products
from setpoint.promotion.generators.config import GeneratorFile, parse_generator
from setpoint.promotion.generators.model import Expansion, environment_name
from setpoint.promotion.generators.substitution import fill, unknown_words

HEAD = "apiVersion: setpoint.dev/v1alpha1\nkind: Generator\n"
FOLDERS = 'applications: {folders: ["apps/*"], exclude: ["apps/old-*"], each: {source: "${name}", environments: ["staging"]}}\n'
CLUSTERS = 'environments: {clusters: {fleet: edge}, like: edge, each: {namespace: "shop-${name}", url: "https://${label.host}"}}\n'
CLUSTER = b"""apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {kubernetes: {cluster: one, namespace: shop, registry: "registry.example.com/shop", url: "https://shop.example.com"}}
gates: {policy: evidence.tests.failed == 0}
"""
NOW = decide.Now("services", "c" * 40, "f" * 40, "2026-11-25T09:00:00.000Z")
LATER = replace(NOW, at="2026-11-25T10:00:00.000Z")


def _document(text: str, name: str = "services") -> Document[GeneratorFile]:
    return parse_generator((HEAD + text).encode(), f"generators/{name}.yaml")


def _edge() -> dict[str, EnvironmentFile]:
    return {"edge": parse_environment(CLUSTER, "environments/edge/environment.yaml").model}


def _expansion(names: Sequence[str], text: str = FOLDERS, before: Expansion | None = None, now: decide.Now = NOW) -> Expansion:
    document = _document(text)
    found = decide.expand("services", document, decide.World([f"apps/{name}" for name in names]))
    return decide.settle(before, document.model, found, now)


def _names(expansion: Expansion) -> list[str]:
    return [element.name for element in expansion.elements]


def _codes(expansion: Expansion) -> list[str]:
    return [reason.code for reason in expansion.reasons]


def test_each_folder_is_an_application_with_its_own_values() -> None:
    """What is excluded, lies deeper or is no name makes none; the one that is no name is told with file and line."""
    found = _expansion(["web", "api", "old-web", "My_App"])
    assert _names(found) == ["api", "web"]
    spec = _document(FOLDERS).model.applications
    assert spec is not None
    application = products.application(spec.each, found.elements[0])
    assert (application.source, application.branch, application.environments) == ("api", "main", ("staging",))
    assert (application.runs_in("staging"), application.runs_in("production")) == (True, False)
    (reason,) = found.reasons
    assert (reason.code, reason.subject) == ("NAME_INVALID", "generators/services.yaml:3:1, apps/My_App")


def test_a_folder_of_an_environment_is_an_application_too() -> None:
    """Pattern parts match parts of the path, so `environments/*/*` is no `apps/*`."""
    document = _document('applications: {folders: ["environments/staging/*"]}\n')
    found = decide.expand("services", document, decide.World(["apps/web", "environments/staging/api", "environments/prod/db"]))
    assert [(one.name, one.source) for one in found.elements] == [("api", "environments/staging/api")]


def test_each_cluster_with_the_labels_is_an_environment_like_its_template() -> None:
    """Gates come from the template, the target from the cluster; the template's own address is not theirs."""
    document = _document(CLUSTERS, "edge-of")
    clusters = {"eu-1": {"fleet": "edge", "host": "eu.example.com"}, "us-1": {"fleet": "edge"}, "core": {"fleet": "core"}}
    found = decide.expand("edge-of", document, decide.World(clusters=clusters, environments=_edge()))
    assert [one.name for one in found.elements] == ["eu-1"]
    spec = document.model.environments
    assert spec is not None
    made = products.environment(spec.each, found.elements[0], _edge()["edge"])
    assert made.target.kubernetes is not None
    assert made.target.kubernetes.cluster == "eu-1"
    assert made.target.kubernetes.namespace == "shop-eu-1"
    assert made.target.kubernetes.url == "https://eu.example.com"
    assert made.target.kubernetes.registry == "registry.example.com/shop"
    assert made.gates == _edge()["edge"].gates
    (reason,) = found.refused
    assert (reason.code, reason.found) == ("ELEMENT_INVALID", "`url` needs `${label.host}`, and cluster us-1 has none")


def test_without_an_address_of_its_own_an_environment_has_none() -> None:
    """The template's URL leads to the template: a check of a later environment must not ask the wrong place."""
    document = _document("environments: {clusters: {fleet: edge}, like: edge}\n", "edge-of")
    spec = document.model.environments
    assert spec is not None
    found = decide.expand("edge-of", document, decide.World(clusters={"eu": {"fleet": "edge"}}, environments=_edge()))
    assert products.environment(spec.each, found.elements[0], _edge()["edge"]).target.url == ""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "SP587"),
        (FOLDERS + CLUSTERS, "SP587"),
        ('applications: {folders: ["charts/*"]}\n', "SP585"),
        ('applications: {folders: ["apps/*/deep"]}\n', "SP585"),
        ('applications: {folders: ["../*"]}\n', "SP585"),
        ('applications: {folders: ["apps/*"], each: {source: "${branch}"}}\n', "SP585"),
        ('applications: {folders: ["apps/*"], each: {source: "${name"}}\n', "SP585"),
        ('applications: {folders: ["apps/*"], each: {project: "${name}"}}\n', "SP520"),
        ("environments: {clusters: {Fleet: edge}, like: edge}\n", "SP586"),
        ('environments: {clusters: {fleet: "a b"}, like: edge}\n', "SP586"),
        ("environments: {clusters: {}, like: edge}\n", "SP015"),
    ],
)
def test_a_file_that_is_not_sound_is_refused(text: str, code: str) -> None:
    """One sort of thing, known words only; a project is never chosen by a folder's name."""
    with pytest.raises(ConfigError) as caught:
        _document(text)
    assert code in {finding.code for finding in caught.value.findings}


def test_what_stands_in_for_a_word_is_no_word_again() -> None:
    """Values are put in once: a folder called like a word changes nothing else."""
    assert fill("${name}-${path}", {"name": "${path}", "path": "x"}) == "${path}-x"
    assert unknown_words("a$b ${name} ${label.x} ${label.}", ("name",), labels=True) == ["label."]


_PLAIN = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(_PLAIN, unique=True, max_size=12), st.randoms())
def test_the_order_of_the_world_does_not_matter(names: list[str], random: object) -> None:
    """The same folders in any order, and once more, give the same elements."""
    shuffled = [*names, *names[:2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert _expansion(names) == _expansion(shuffled)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sets(_PLAIN, max_size=8), min_size=1, max_size=6), st.integers(0, 100))
def test_no_history_of_folders_takes_more_away_than_the_budget(history: list[set[str]], budget: int) -> None:
    """Whatever comes and goes: one look never loses more than the budget, never all, and the same look again changes nothing."""
    before: Expansion | None = None
    text = FOLDERS.replace('"apps/old-*"', "") + f'budget: "{budget}%"\n'
    for folders in history:
        after = _expansion(sorted(folders), text, before)
        had, has = set(_names(before)) if before is not None else set(), set(_names(after))
        lost = had - has
        assert not lost or (len(lost) <= len(had) * budget // 100 and lost < had)
        assert folders <= has, "what is there is made"
        again = _expansion(sorted(folders), text, after, LATER)
        assert again == after, "nothing changed, nothing is journalled"
        before = after


@settings(max_examples=100, deadline=None)
@given(st.text("abcdefghij-XY/_", min_size=1, max_size=60), st.text("abcdefghij-XY/_", min_size=1, max_size=60))
def test_names_of_environments_are_stable_and_apart(one: str, other: str) -> None:
    """At most 40 characters, begun with the generator's name; two elements never share one."""
    first, second = environment_name("preview", one), environment_name("preview", other)
    assert len(first) <= 40
    assert first.startswith("preview")
    assert (first == second) == (one == other)


def test_a_shrink_over_the_budget_waits_for_exactly_that_word() -> None:
    """Three of four folders are gone: all stay, with a since; after the word they leave; another set would need another."""
    before = _expansion(["a", "b", "c", "d"])
    held = _expansion(["a"], before=before)
    assert (_names(held), _codes(held), held.since) == (["a", "b", "c", "d"], ["GENERATOR_SHRINKS"], NOW.at)
    assert held.held is not None
    assert held.held.elements == ("b", "c", "d")
    fewer = _expansion(["a", "b", "c"], before=held)
    assert (_names(fewer), fewer.held is not None) == (["a", "b", "c", "d"], True), "what was held once stays so"
    assert _names(_expansion(["a", "b", "c"], before=replace(held, confirmed=held.held.set))) == ["a", "b", "c", "d"]
    gone = _expansion(["a"], before=replace(held, confirmed=held.held.set), now=LATER)
    assert (_names(gone), gone.reasons, gone.since, gone.held, gone.confirmed) == (["a"], (), "", None, "")
    back = _expansion(["a", "b", "c", "d"], before=held, now=LATER)
    assert (back.reasons, back.held) == ((), None)


def test_a_pattern_that_matches_nothing_any_more_takes_nothing_away() -> None:
    """Also the only one: none at all is always a person's word."""
    for names in (["a"], ["a", "b", "c"]):
        held = _expansion([], before=_expansion(names))
        assert (_names(held), _codes(held)) == (names, ["GENERATOR_SHRINKS"])


def test_a_failure_keeps_everything_and_its_since() -> None:
    """Elements that cannot be read: the last good expansion stays, and the second failure does not move the clock."""
    before = _expansion(["a", "b"])
    reason = Reason("GENERATOR_FAILED", Outcome.DENY, "delivery", "the repository cannot be used")
    broken = decide.failed(before, "services", reason, NOW.at)
    assert (broken.elements, _codes(broken), broken.since) == (before.elements, ["GENERATOR_FAILED"], NOW.at)
    assert decide.failed(broken, "services", reason, LATER.at) == broken
    assert _expansion(["a", "b"], before=broken, now=LATER) == before


def test_a_file_whose_product_is_not_sound_any_more_changes_nothing_that_was_made() -> None:
    """The element is still there: it has not left, and the file of before still says what it is."""
    before = _expansion(["a", "b"])
    document = _document('applications: {folders: ["apps/*"], each: {source: "${name}//x"}}\n')
    found = decide.expand("services", document, decide.World(["apps/a", "apps/b"]))
    after = decide.settle(before, document.model, found, replace(LATER, file="9" * 40, commit="d" * 40))
    assert (after.elements, after.file, after.commit) == (before.elements, NOW.file, NOW.commit)
    assert _codes(after) == ["ELEMENT_INVALID", "ELEMENT_INVALID"]


def test_a_name_that_somebody_has_is_not_replaced() -> None:
    """The reason names both places."""
    world = decide.World(["apps/web"], taken={"web": "setpoint.yaml:4:3"})
    found = decide.expand("services", _document(FOLDERS), world)
    assert (found.elements, found.refused[0].code) == ((), "NAME_TAKEN")
    assert found.refused[0].subject == "generators/services.yaml:3:1, apps/web"
    assert "setpoint.yaml:4:3" in found.refused[0].found


def test_more_than_the_most_wait_and_who_is_there_stays() -> None:
    """The newest waits with a reason, also when its name comes first."""
    text = FOLDERS + "max: 2\n"
    full = _expansion(["a", "m", "z"], text, _expansion(["m", "z"], text))
    assert (_names(full), _codes(full)) == (["m", "z"], ["GENERATOR_FULL"])
    assert "a" in full.reasons[0].found


def test_environments_that_leave_stay_reachable_while_something_is_there() -> None:
    """A cluster that lost its label: its environment makes nothing new, and its objects can still be removed."""
    document = _document(CLUSTERS.replace("https://${label.host}", "https://x.example.com") + 'budget: "5"\n', "edge-of")

    def look(names: Sequence[str], before: Expansion | None, occupied: Sequence[str]) -> Expansion:
        world = decide.World(clusters={name: {"fleet": "edge"} for name in names}, environments=_edge())
        now = decide.Now("edge-of", "c" * 40, "f" * 40, NOW.at, occupied)
        return decide.settle(before, document.model, decide.expand("edge-of", document, world), now)

    two = look(["a", "b"], None, ())
    left = look(["a"], two, ["edge-of-b"])
    assert ([one.name for one in left.elements], [one.name for one in left.leaving]) == (["a"], ["b"])
    assert look(["a"], left, ()).leaving == ()
    assert look(["a", "b"], left, ["edge-of-b"]).leaving == ()
    gone = decide.withdrawn(left, decide.Now("edge-of", "", "", NOW.at, ["edge-of-a", "edge-of-b"]), environments=True)
    assert gone is not None
    assert ([one.name for one in gone.leaving], gone.elements) == (["a", "b"], ())
    assert decide.withdrawn(gone, decide.Now("edge-of", "", "", NOW.at), environments=True) is None
