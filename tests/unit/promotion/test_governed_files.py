"""Law 9, a judge cannot be edited by the judged: whose change of the governed files takes effect, and what judges until then."""

import pygit2

from unit.builders_home import DELIVERY, PROD, SETPOINT, STAGING, World

PROD_PATH = "environments/prod/environment.yaml"
LOOSE = PROD.replace(b"required: 1", b"required: 1, not: []")


def _accepted(world: World) -> bool:
    delivery = world.delivery()
    return delivery.accepted == delivery.head and not delivery.pending


def _codes(world: World) -> set[str]:
    return {reason.code for reason in world.delivery().pending}


def test_an_owners_push_is_accepted_and_journalled(world: World) -> None:
    """The environment's owner changes its gates; the new version judges from then on."""
    world.register()
    world.commit("delivery", {PROD_PATH: LOOSE}, pusher="pat@example.com")
    assert _accepted(world)
    entry = [e for e in world.journal.entries() if e.kind == "baseline.accepted"][-1]
    assert entry.body == {"commit": world.git.heads("delivery")["main"], "why": "changed by owners: pat@example.com"}
    approvals = world.delivery().environments["prod"].gates.approvals
    assert approvals is not None
    assert approvals.excluded == ()


def test_somebody_elses_push_is_not_accepted_and_the_old_version_judges(world: World) -> None:
    """A change of the gates by somebody who does not own them is shown, and changes nothing."""
    first = world.register()
    world.commit("delivery", {PROD_PATH: LOOSE}, author="pat@example.com", pusher="ada@example.com")
    delivery = world.delivery()
    assert (delivery.accepted, _codes(world)) == (first, {"NOT_ACCEPTED"})
    assert delivery.pending[0].found == "changed by ada@example.com"
    approvals = delivery.environments["prod"].gates.approvals
    assert approvals is not None
    assert len(approvals.excluded) == 4


def test_a_change_by_path_is_nobodys(world: World) -> None:
    """A commit that no push brought is not accepted, whoever its author says it is."""
    world.register()
    world.commit("delivery", {PROD_PATH: LOOSE}, author="pat@example.com", pusher=None)
    assert "somebody by path" in world.delivery().pending[0].found


def test_a_change_by_path_does_not_hide_between_two_pushes_of_an_owner(world: World) -> None:
    """Whoever pushes the same file afterwards speaks for his own change only."""
    world.register()
    world.commit("delivery", {"README": b"x"}, pusher="sam@example.com")
    world.commit("delivery", {PROD_PATH: LOOSE}, pusher=None)
    world.commit("delivery", {PROD_PATH: LOOSE + b"images: []\n"}, pusher="sam@example.com")
    assert "somebody by path" in world.delivery().pending[0].found


def test_a_push_that_is_journalled_after_the_branch_moved_is_judged_again(world: World) -> None:
    """Looking between the branch's move and the push's entry decides nothing for ever."""
    old = world.register()
    new = world.commit("delivery", {PROD_PATH: LOOSE}, pusher=None)
    assert not _accepted(world)
    world.pushed("delivery", old, new, "sam@example.com")
    assert _accepted(world)


def test_an_owners_later_push_does_not_bring_a_strangers_change_along(world: World) -> None:
    """Whoever pushes on top of an unaccepted change does not accept it by that."""
    world.register()
    world.commit("delivery", {PROD_PATH: LOOSE}, pusher="ada@example.com")
    world.commit("delivery", {"apps/web/app.yaml": b"base 2"}, pusher="sam@example.com")
    assert _codes(world) == {"NOT_ACCEPTED"}


def test_the_files_of_different_owners_are_judged_each_by_its_own(world: World) -> None:
    """Two pushes between two looks, each by the owner of what it changed, are both accepted."""
    world.register()
    world.commit("delivery", {PROD_PATH: LOOSE}, pusher="pat@example.com")
    world.commit("delivery", {"environments/staging/environment.yaml": STAGING + b"images: []\n"}, pusher="ada@example.com")
    assert _accepted(world)


def test_after_a_revert_the_owner_can_change_again(world: World) -> None:
    """A stranger's change that was taken back leaves no trace in the judgement of later ones."""
    world.register()
    world.commit("delivery", {PROD_PATH: LOOSE}, pusher="ada@example.com")
    world.commit("delivery", {PROD_PATH: PROD}, pusher="ada@example.com")
    assert not world.delivery().pending
    world.commit("delivery", {PROD_PATH: LOOSE}, pusher="sam@example.com")
    assert _accepted(world)


def test_nobody_makes_himself_an_owner_in_the_same_push(world: World) -> None:
    """Owners are those of the accepted version: adding oneself to the team with the change does not help."""
    first = world.register()
    mine = SETPOINT.replace(b"sre: [sam, pat, bot]", b"sre: [sam, pat, bot, ada]").replace(
        b'["person:sam"]', b'["person:sam", "person:ada"]'
    )
    world.commit("delivery", {"setpoint.yaml": mine, PROD_PATH: LOOSE}, pusher="ada@example.com")
    delivery = world.delivery()
    assert delivery.accepted == first
    assert [reason.subject for reason in delivery.pending] == [PROD_PATH, "setpoint.yaml"]


def test_a_merge_that_hides_the_change_from_every_commits_own_list_is_not_accepted(world: World) -> None:
    """A merge whose first parent already carries weaker gates changes nothing against it; what the push left behind counts."""
    weak = world.register({**DELIVERY, PROD_PATH: LOOSE})
    strict = world.commit("delivery", {PROD_PATH: PROD}, pusher="sam@example.com")
    assert _accepted(world)
    side = world.commit("delivery", {"README": b"x"}, pusher="ada@example.com", parents=[weak])
    world.git.advance("delivery", "main", side, strict)
    merge = world.commit("delivery", {"README": b"y"}, pusher=None, parents=[side, strict])
    world.pushed("delivery", strict, merge, "ada@example.com")
    delivery = world.delivery()
    assert (delivery.accepted, _codes(world)) == (strict, {"NOT_ACCEPTED"})
    assert delivery.pending[0].found == "changed by ada@example.com"


def test_a_change_behind_more_commits_than_anybody_lists_is_not_accepted(world: World) -> None:
    """A push is judged by what it changed, however many commits it brings."""
    old = world.register()
    new = changed = world.commit("delivery", {PROD_PATH: LOOSE}, pusher=None)
    bare = pygit2.Repository(str(world.git.path("delivery")))
    tree, who = bare[changed].peel(pygit2.Tree).id, pygit2.Signature("Ada", "ada@example.com", 1_700_000_000, 0)
    for _ in range(1010):
        new = str(bare.create_commit(None, who, who, "empty", tree, [pygit2.Oid(hex=new)]))
    assert world.git.advance("delivery", "main", changed, new)
    world.pushed("delivery", old, new, "ada@example.com")
    assert _codes(world) == {"NOT_ACCEPTED"}


def test_a_deleted_and_recreated_branch_does_not_bring_older_gates_back(world: World) -> None:
    """Pushing an old commit to a branch that was deleted first is a change by whoever did it."""
    weak = world.register({**DELIVERY, PROD_PATH: LOOSE})
    strict = world.commit("delivery", {PROD_PATH: PROD}, pusher="sam@example.com")
    assert _accepted(world)
    world.git.advance("delivery", "main", strict, weak)
    world.pushed("delivery", strict, "0" * 40, "ada@example.com")
    world.pushed("delivery", "0" * 40, weak, "ada@example.com")
    assert world.delivery().accepted == strict
    assert _codes(world) == {"NOT_ACCEPTED"}


def test_a_faulty_version_is_not_accepted_even_from_an_owner(world: World) -> None:
    """An owner's mistake is shown with its places, and the version before goes on judging."""
    first = world.register()
    world.commit("delivery", {PROD_PATH: PROD + b"gatess: {}\n"}, pusher="sam@example.com")
    delivery = world.delivery()
    assert (delivery.accepted, _codes(world)) == (first, {"FAULTY"})
    assert delivery.pending[0].subject.startswith(f"{PROD_PATH}:")
    world.commit("delivery", {PROD_PATH: LOOSE}, pusher="sam@example.com")
    assert _accepted(world)


def test_a_policy_that_does_not_compile_is_not_accepted(world: World) -> None:
    """A broken gate never replaces a working one."""
    world.register()
    world.commit("delivery", {PROD_PATH: PROD.replace(b"evidence.tests", b"broken.tests")}, pusher="sam@example.com")
    assert _codes(world) == {"FAULTY"}


def test_a_policy_that_names_what_no_policy_sees_is_not_accepted(world: World) -> None:
    """It would deny for ever: the place and the nearest name are told, and a file that is in force with one goes on judging."""
    wrong = PROD.replace(b"evidence.tests.failed == 0", b"render.privilged == []")
    world.register({**DELIVERY, PROD_PATH: wrong})
    delivery = world.delivery()
    assert (delivery.pending, delivery.environment("prod").gates.policy) == ((), "render.privilged == []")
    world.commit("delivery", {PROD_PATH: wrong.replace(b"privilged", b"host_pathes")}, pusher="sam@example.com")
    reason = world.delivery().pending[0]
    assert (reason.code, reason.subject) == ("FAULTY", f"{PROD_PATH}:7:18")
    assert (reason.found, reason.fix) == ("there is no `render.host_pathes`", "did you mean `host_paths`?")


def test_what_cannot_even_be_read_does_not_stop_the_home(world: World) -> None:
    """A file too large, or a file where a folder belongs, is not accepted; the accepted version stays in force."""
    first = world.register()
    world.commit("delivery", {"setpoint.yaml": b"#" * (2 << 20)}, pusher="sam@example.com")
    assert (world.delivery().accepted, _codes(world)) == (first, {"FAULTY"})
    files = {"setpoint.yaml": SETPOINT, "environments": b"a file"}
    remove = [path for path in DELIVERY if path.startswith("environments/")]
    world.commit("delivery", files, remove=remove, pusher="ada@example.com")
    assert world.delivery().accepted == first
    assert set(world.delivery().environments) == {"staging", "prod"}


def test_other_files_change_without_anybodys_leave(world: World) -> None:
    """Applications and overlays are candidates, not judges: no acceptance is needed, and none is journalled."""
    first = world.register()
    world.commit("delivery", {"apps/web/app.yaml": b"base 2"}, pusher="ada@example.com")
    assert (world.delivery().accepted, world.delivery().pending) == (first, ())


def test_a_new_environment_is_authorised_by_the_owners_of_setpoint_yaml(world: World) -> None:
    """A team's member cannot add an environment; the owner of setpoint.yaml can."""
    world.register()
    extra = {"environments/qa/environment.yaml": STAGING.replace(b"7501", b"7503").replace(b"team:dev", b"team:sre")}
    world.commit("delivery", extra, pusher="pat@example.com")
    assert _codes(world) == {"NOT_ACCEPTED"}
    world.commit("delivery", {}, remove=list(extra), pusher="pat@example.com")
    world.commit("delivery", extra, pusher="sam@example.com")
    assert _accepted(world)


def test_environments_are_ordered_after_their_upstreams(world: World) -> None:
    """Promotion order: staging before prod, whatever their names."""
    world.register()
    assert world.delivery().ordered() == ["staging", "prod"]


def test_without_a_registered_repository_there_is_no_delivery(world: World) -> None:
    """A home without a delivery repository has nothing to do, and says nothing."""
    assert world.reader.load() is None


GATED = PROD.replace(b"gates:\n", b"gates:\n  checks: [{command: {run: ./smoke.sh}}]\n")


def test_scripts_of_checks_belong_to_the_environments_owners(world: World) -> None:
    """A stranger's script is not accepted; what is missing or not executable is told with its place; an owner's is in force."""
    world.register()
    world.commit("delivery", {PROD_PATH: GATED}, pusher="pat@example.com")
    (missing,) = world.delivery().pending
    assert (missing.code, "there is no file environments/prod/checks/smoke.sh" in missing.found) == ("FAULTY", True)
    world.commit("delivery", {"environments/prod/checks/smoke.sh": b"exit 0"}, pusher="pat@example.com")
    (flat,) = world.delivery().pending
    assert "not executable" in flat.found
    world.commit("delivery", {PROD_PATH: GATED.replace(b"./smoke.sh", b"sh smoke.sh")}, pusher="pat@example.com")
    assert _accepted(world)
    scripts = world.reader.scripts_id(world.delivery(), "prod")
    world.commit("delivery", {"environments/prod/checks/smoke.sh": b"exit 1"}, pusher="ada@example.com")
    assert _codes(world) == {"NOT_ACCEPTED"}
    assert world.delivery().pending[0].subject == "environments/prod/checks"
    assert world.reader.scripts_id(world.delivery(), "prod") == scripts


def test_scripts_of_a_new_environment_belong_to_the_owners_of_all(world: World) -> None:
    """Nobody prepares the judge of an environment that is not there yet."""
    world.register()
    world.commit("delivery", {"environments/next/checks/smoke.sh": b"exit 0"}, pusher="pat@example.com")
    assert _codes(world) == {"NOT_ACCEPTED"}
