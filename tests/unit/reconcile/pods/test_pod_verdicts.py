"""Which build a pod runs: digests decide, in every form in which nodes report them; nothing that is well is told as if it were not."""

from dataclasses import replace

import pytest

from setpoint.reconcile.cluster.owner import Owner
from setpoint.reconcile.pods import decide
from setpoint.reconcile.pods.digests import name_of, reported
from setpoint.reconcile.pods.model import Build, Pod, PodContainer, PodOwner, PodState

HOME = "h-1"
OURS = Owner(HOME, "shop", "cloud")
NEW, OLD, CHILD, CONFIG, OTHER = (f"sha256:{letter * 64}" for letter in "abcde")
PLACE = ("shop", "cloud")
BUILD = Build("shop", "cloud", "p-new", "2-bb", "b" * 40, frozenset({f"web@{NEW}"}))
BEFORE = Build("shop", "cloud", "p-old", "1-aa", "a" * 40, frozenset({f"web@{OLD}"}))
NAMED = decide.Named(HOME, {PLACE: [BUILD]}, {NEW: frozenset({NEW, CHILD, CONFIG})}, {PLACE: [BEFORE]}, (), ("cloud",))
SETTLED = replace(NAMED, settled=(PLACE,))
DEPLOYMENT = PodOwner("apps/v1", "Deployment", "shop", "u-d", whose=OURS)
CHAIN = (PodOwner("apps/v1", "ReplicaSet", "shop-5d8f", "u-r", "2"), DEPLOYMENT)


def _pod(image: str, image_id: str = "", owners: tuple[PodOwner, ...] = CHAIN, sort: str = "container") -> Pod:
    container = PodContainer("web", sort, image, image_id)  # type: ignore[arg-type]
    return Pod("ns", "shop-5d8f-1", "uid", "Running", "2026-11-25T00:00:00Z", containers=(container,), owners=owners)


def _state(pod: Pod, named: decide.Named = NAMED) -> PodState | None:
    verdict = decide.judge(pod, named)
    return verdict.state if verdict is not None else None


@pytest.mark.parametrize(
    "image_id",
    [
        f"docker-pullable://registry.example.com/web@{NEW}",
        f"registry.example.com:5000/web@{CHILD}",
        f"docker://{CONFIG}",
        CONFIG,
        NEW,
    ],
)
def test_every_form_of_a_digest_leads_to_the_build(image_id: str) -> None:
    """The index's digest, a platform's and the configuration's are the same build, with and without a scheme or a repository."""
    verdict = decide.judge(_pod("registry.example.com/web:latest", image_id), NAMED)
    assert verdict is not None
    assert (verdict.state, verdict.build, verdict.unnamed) == (PodState.PINNED, BUILD, ())


def test_text_without_a_digest_is_none() -> None:
    """A tag, an empty id and half a digest name nothing."""
    assert [reported(text) for text in ("web:1", "", "sha256:ab", "docker-pullable://web@sha256:zz")] == ["", "", "", ""]
    assert name_of(f"docker-pullable://r.example.com/web@{NEW}") == "r.example.com/web@sha256:aaaaaaaaaaaa"
    assert name_of("web:1") == "web:1"


def test_what_no_pin_names_is_told_with_its_owners() -> None:
    """A pod of an application that runs another digest is a problem at once, whatever it is called."""
    verdict = decide.judge(_pod("web:latest", f"elsewhere/web@{OTHER}"), NAMED)
    assert verdict is not None
    assert (verdict.state, [one.name for one in verdict.unnamed]) == (PodState.UNNAMED, ["web"])
    (reason,) = decide.reasons(decide.groups([verdict]), "shop in cloud")
    assert (reason.code, reason.severity, reason.subject) == ("POD_UNNAMED", "problem", "Deployment/shop")
    assert "Pod/shop-5d8f-1 of ReplicaSet/shop-5d8f of Deployment/shop" in reason.found


@pytest.mark.parametrize("sort", ["init", "ephemeral", "volume"])
def test_every_sort_of_container_counts(sort: str) -> None:
    """An image that is injected beside a pinned one makes the pod unnamed: as an init or debug container, and as a volume."""
    pod = _pod(f"web@{NEW}")
    beside = PodContainer("debug", sort, f"tools@{OTHER}", f"tools@{OTHER}")  # type: ignore[arg-type]
    assert _state(replace(pod, containers=(*pod.containers, beside))) is PodState.UNNAMED


def test_an_earlier_build_leaves_while_it_rolls_and_is_told_when_nothing_takes_it_away() -> None:
    """The old ReplicaSet's pods of a rolling update are no alarm; once the application rests they are."""
    old = _pod(f"web@{OLD}")
    assert _state(old) is PodState.LEAVING
    assert _state(old, SETTLED) is PodState.EARLIER
    assert _state(replace(old, leaving=True), SETTLED) is PodState.LEAVING
    verdict = decide.judge(old, SETTLED)
    assert verdict is not None
    assert verdict.build == BEFORE


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_the_run_of_a_job_goes_on_to_its_end(kind: str) -> None:
    """A Job that began under an earlier pin runs that until it is done, and its ended pods run nothing."""
    owners = (PodOwner("batch/v1", kind, "nightly", "u-j", whose=OURS),)
    assert _state(_pod(f"web@{OLD}", owners=owners), SETTLED) is PodState.LEAVING
    assert _state(replace(_pod(f"web@{OTHER}", owners=owners), phase="Succeeded"), SETTLED) is None


def test_what_nobody_of_ours_made_is_a_sort_of_its_own() -> None:
    """A bare pod, one of another controller, and one of another home are foreign, even with a pinned digest and our labels."""
    theirs = PodOwner("apps/v1", "DaemonSet", "agent", "u-x", whose=Owner("h-2", "shop", "cloud"))
    for owners in ((), (theirs,), (replace(DEPLOYMENT, whose=Owner(HOME, "shop", "elsewhere")),)):
        assert _state(_pod(f"web@{NEW}", owners=owners)) is PodState.FOREIGN
    verdict = decide.judge(_pod(f"web@{NEW}", owners=()), NAMED)
    assert verdict is not None
    assert (verdict.app, verdict.build) == ("", BUILD)
    (reason,) = decide.strangers(decide.groups([verdict]), "namespace ns")
    assert reason.severity == "info"


def test_nothing_is_said_before_it_is_known() -> None:
    """Owners that are still being read, and an image by tag that was not pulled yet, make no verdict against a pod."""
    assert _state(replace(_pod(f"web@{OTHER}"), chained=False)) is None
    assert _state(_pod("web:latest")) is PodState.STARTING
    assert _state(replace(_pod(f"web@{OTHER}", owners=()), leaving=True)) is None


def test_an_operators_pods_are_no_alarm() -> None:
    """Between a custom resource of ours and its pods somebody else decides the images; the owner who declared it answers for them."""
    owners = (PodOwner("apps/v1", "StatefulSet", "db", "u-s"), PodOwner("databases.example.com/v1", "Database", "db", "u-c", whose=OURS))
    assert _state(_pod(f"db@{OTHER}", owners=owners)) is PodState.OPERATED


def test_a_pods_own_words_choose_only_among_builds_that_have_its_images() -> None:
    """Two promotions with the same digests differ by configuration: the annotation tells which; it never names another digest's."""
    again = replace(BUILD, promotion="p-again", version="2-bb")
    named = replace(NAMED, current={PLACE: [again, BUILD]})
    verdict = decide.judge(replace(_pod(f"web@{NEW}"), promotion="p-new"), named)
    assert verdict is not None
    assert verdict.build == BUILD
    assert _state(replace(_pod(f"web@{OTHER}"), promotion="p-new"), named) is PodState.UNNAMED


def test_pods_are_counted_by_workload_and_build() -> None:
    """Three pods of one build are one row; the worst comes last."""
    verdicts = [decide.judge(replace(_pod(f"web@{NEW}"), name=f"shop-{n}", uid=str(n), ready=n > 0), NAMED) for n in range(3)]
    odd = decide.judge(replace(_pod(f"web@{OTHER}"), name="shop-x"), NAMED)
    rows = decide.groups([one for one in (odd, *verdicts) if one is not None])
    assert [(row.state, row.count, row.ready, row.version) for row in rows] == [
        (PodState.PINNED, 3, 2, "2-bb"),
        (PodState.UNNAMED, 1, 0, ""),
    ]
    assert rows[0].pods == ("shop-0", "shop-1", "shop-2")
