"""Rollouts on a namespace in memory: what its objects are in each phase, what goes when, and what cannot be seen."""

from dataclasses import replace

import pytest

from setpoint.core import clock
from setpoint.core.errors import UserError
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.revisions import HASH, apart
from setpoint.reconcile.model import CanaryPlan
from setpoint.reconcile.pods.model import Pod, PodOwner
from setpoint.rollout.cluster.compose import pointed
from setpoint.rollout.cluster.counted import counted
from setpoint.rollout.cluster.exposition import LARGEST, samples
from setpoint.rollout.model import Phase
from unit.builders_home import ManualClock
from unit.rollout_cluster import MANIFESTS, ROUTE, ClusterPlay, objects_of

PLAN = CanaryPlan((25, 50), hold_s=10, unjudged=True)
WORKER = """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker, namespace: prod}
spec:
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec: {containers: [{name: w, image: "hello/web@REVISION"}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, namespace: prod}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: m, image: "hello/web@REVISION"}]}}}
"""


@pytest.fixture
def play() -> ClusterPlay:
    """Revision 1 runs, fully rolled out."""
    found = ClusterPlay(ManualClock())
    found.until("1", Phase.FINISHED)
    return found


def _selector(play: ClusterPlay) -> str:
    return str(play.object("Service", "web")["spec"]["selector"].get(HASH, ""))


def test_a_plain_deployment_serves_until_the_first_revision_can() -> None:
    """Before anything is ready Service and route are as written; then both lead to the revision, and only then the plain one goes."""
    play = ClusterPlay(ManualClock())
    plain = ObjectKey("apps", "Deployment", "prod", "web")
    play.namespace.inventory[str(plain)] = None
    play.namespace.live[plain] = {"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}
    name = f"web-{apart(objects_of('1')).hashes['web']}"
    play.namespace.unready = {name}
    for _ in range(5):
        play.clock.move(30)
        found = play.at("1")
        assert (found.phase, _selector(play), play.weights()) == (Phase.ROLLING, "", {"web": 1})
        assert play.namespace.named("Deployment") == ["web", name]
    play.namespace.unready = set()
    play.at("1")
    found = play.at("1")
    assert (found.phase, play.weights(), _selector(play)) == (Phase.FINISHING, {name: 1}, name.removeprefix("web-"))
    assert play.namespace.named("Deployment") == ["web", name]
    play.until("1", Phase.FINISHED)
    assert play.namespace.named("Deployment") == [name]


def test_what_people_wrote_leads_to_the_stable_revision_until_the_hand_over(play: ClusterPlay) -> None:
    """In every step of a canary the Service of the manifests selects stable pods only; the ConfigMap of the stable revision stays."""
    stable = play.name("1")
    for phase in (Phase.PREPARING, Phase.HOLDING):
        play.until("2", phase, PLAN)
        assert _selector(play) == stable.removeprefix("web-")
    assert play.object("Deployment", stable)["spec"]["replicas"] == 4
    assert {stable, play.name("2")} <= set(play.namespace.named("ConfigMap"))
    play.until("2", Phase.FINISHED, PLAN)
    assert _selector(play) == play.name("2").removeprefix("web-")


def test_a_kept_revision_goes_when_its_time_is_over_and_counts_for_no_budget(play: ClusterPlay) -> None:
    """All of its objects go together, marked as the end of a revision."""
    stable = play.name("1")
    play.until("2", Phase.FINISHED, replace(PLAN, keep_s=60))
    assert stable in play.namespace.named("Deployment")
    play.clock.move(61)
    play.at("2")
    assert stable not in {*play.namespace.named("Deployment"), *play.namespace.named("Service"), *play.namespace.named("ConfigMap")}
    assert f"apps/Deployment/prod/{stable}" in play.shaped.retired


def test_what_is_no_revision_follows_last_but_for_jobs() -> None:
    """A worker keeps the stable image until the canary is through, also when that is sent back; a Job of the new pin runs at once."""
    play = ClusterPlay(ManualClock(), MANIFESTS + ROUTE + WORKER)
    play.until("1", Phase.FINISHED)
    play.until("2", Phase.HOLDING, PLAN)
    both = (("Deployment", "worker"), ("Job", "migrate"))
    images = [play.object(kind, name)["spec"]["template"]["spec"]["containers"][0]["image"] for kind, name in both]
    assert images == ["hello/web@1", "hello/web@2"]
    play.rollouts.abort("web", "prod", "person:sam", "no")
    play.at("2", PLAN)
    assert play.object("Deployment", "worker")["spec"]["template"]["spec"]["containers"][0]["image"] == "hello/web@1"


def test_traffic_is_written_before_anything_else_once_the_revisions_are_there(play: ClusterPlay) -> None:
    """The route is among what is written first when a canary goes back, and not while its Services are still made."""
    route = ObjectKey("gateway.networking.k8s.io", "HTTPRoute", "prod", "web")
    play.at("2", PLAN)
    assert route not in play.shaped.first
    play.until("2", Phase.HOLDING, PLAN)
    play.rollouts.abort("web", "prod", "person:sam", "no")
    play.at("2", PLAN)
    assert route in play.shaped.first


def test_what_cannot_be_looked_at_is_not_taken_for_not_ready(play: ClusterPlay) -> None:
    """While the picture is unknown no step is taken, however long that lasts."""
    play.until("2", Phase.HOLDING, PLAN)
    play.namespace.unknown = True
    for _ in range(3):
        play.clock.move(2000)
        assert play.at("2", PLAN).phase is Phase.HOLDING


def test_a_revision_that_does_not_come_up_goes_back(play: ClusterPlay) -> None:
    """By Kubernetes' own deadline, and by ours where the cluster says nothing."""
    play.at("2", PLAN)
    play.namespace.late = play.namespace.unready = {play.name("2")}
    play.at("2", PLAN)
    found = play.at("2", PLAN)
    assert (found.phase, found.reasons[0].code) == (Phase.RETURNED, "CANARY_NOT_READY")
    play.until("1", Phase.FINISHED)
    play.namespace.late = set()
    slow = replace(PLAN, hold_s=2000)
    play.until("3", Phase.HOLDING, slow)
    play.namespace.unready = {play.name("3")}
    for _ in range(3):
        assert play.at("3", slow).phase is Phase.HOLDING
    play.clock.move(601)
    assert play.at("3", slow).phase is Phase.RETURNED


def test_what_a_hook_holds_back_is_not_late(play: ClusterPlay) -> None:
    """However long nothing of it may be made yet; its time begins when its Deployment is made, also for a server without memory."""
    play.namespace.held = True
    for _ in range(4):
        found = play.at("2", PLAN)
        play.clock.move(400)
    assert found.phase is Phase.PREPARING
    name = f"web-{apart(objects_of('2')).hashes['web']}"
    play.namespace.held, play.namespace.unready = False, {name}
    play.at("2", PLAN)
    made = ObjectKey("apps", "Deployment", "prod", name)
    play.namespace.live[made]["metadata"]["creationTimestamp"] = clock.to_text(play.clock.now())
    play.namespace.held = True  # the object stays as it is
    play.restart()
    play.clock.move(599)
    assert play.at("2", PLAN).phase is Phase.PREPARING
    play.clock.move(2)
    assert play.at("2", PLAN).phase is Phase.RETURNED


def test_a_silent_data_plane_is_no_verdict(play: ClusterPlay) -> None:
    """Counters that cannot be read hold a judged step at its end."""
    play.namespace.silent = True
    play.until("2", Phase.HOLDING, replace(PLAN, unjudged=False))
    play.clock.move(11)
    assert play.at("2", replace(PLAN, unjudged=False)).phase is Phase.HELD


def test_a_split_without_its_stable_side_changes_nothing(play: ClusterPlay) -> None:
    """A stable pin that renders to something else than the canary began with is an error that names it."""
    play.until("2", Phase.HOLDING, PLAN)
    play.pins["pin-1"] = replace(play.pins["pin-1"], objects=play.pins["pin-2"].objects)
    with pytest.raises(UserError, match="SP653"):
        play.at("2", PLAN)


def test_without_a_route_the_number_of_replicas_splits_and_says_so() -> None:
    """Both revisions are behind one Service, the stable one gives replicas up; health alone decides; a return narrows the Service."""
    play = ClusterPlay(ManualClock(), MANIFESTS)
    play.until("1", Phase.FINISHED)
    stable = play.name("1")
    play.until("2", Phase.PREPARING, PLAN)
    assert _selector(play) == stable.removeprefix("web-")
    play.until("2", Phase.HOLDING, PLAN)
    numbers = [play.object("Deployment", name)["spec"]["replicas"] for name in (stable, play.name("2"))]
    assert (numbers, _selector(play)) == ([3, 1], "")
    (told,) = [one for one in play.shaped.reasons if one.code == "CANARY_BY_REPLICAS"]
    assert "1 of 4 replicas for 25 %" in told.found
    play.rollouts.abort("web", "prod", "person:sam", "no")
    play.at("2", PLAN)
    assert _selector(play) == stable.removeprefix("web-")
    assert play.object("Deployment", stable)["spec"]["replicas"] == 4


def test_without_a_route_an_earlier_revision_goes_before_both_share_a_service() -> None:
    """What is kept from the last rollout would get traffic again, so it ends first."""
    play = ClusterPlay(ManualClock(), MANIFESTS)
    play.until("1", Phase.FINISHED)
    play.until("2", Phase.FINISHED, PLAN)
    assert len(play.namespace.named("Deployment")) == 2
    play.until("3", Phase.HOLDING, PLAN)
    assert play.namespace.named("Deployment") == sorted([play.name("2"), play.name("3")])


def test_a_route_keeps_what_is_not_ours_and_the_proportions_that_people_wrote() -> None:
    """Backends of others, filters and weights stay; numbers stay within what the Gateway API takes."""
    refs = [{"name": "web", "port": 80, "weight": 3, "filters": [1]}, {"name": "old", "port": 80}]
    refs += [{"name": "x", "namespace": "y", "weight": 2}]
    rules = [{"backendRefs": refs, "matches": [2]}]
    route = {"kind": "HTTPRoute", "metadata": {"namespace": "prod"}, "spec": {"hostnames": ["a"], "rules": rules}}
    (rule,) = pointed(route, {"web": [("aaa", 75), ("bbb", 25)]})["spec"]["rules"]
    assert rule["matches"] == [2]
    assert [(one["name"], one["weight"]) for one in rule["backendRefs"]] == [("web-aaa", 225), ("web-bbb", 75), ("old", 100), ("x", 200)]
    assert rule["backendRefs"][1]["filters"] == [1]
    huge = {**route, "spec": {"rules": [{"backendRefs": [{"name": "web", "weight": 999_999}, {"name": "old"}]}]}}
    (rule,) = pointed(huge, {"web": [("aaa", 99), ("bbb", 1)]})["spec"]["rules"]
    assert all(1 <= one["weight"] <= 1_000_000 for one in rule["backendRefs"])


def test_counters_belong_to_the_revision_whose_service_a_label_names() -> None:
    """HAProxy's classes and Traefik's codes; names that only begin alike are somebody else's; instances count beside each other."""
    services = {"web-aaa": ("web", "stable"), "web-bbb": ("web", "canary")}
    page = """
# HELP haproxy_backend_http_responses_total x
haproxy_backend_http_responses_total{proxy="prod_web-aaa_80",code="2xx"} 90
haproxy_backend_http_responses_total{proxy="prod_web-aaa_80",code="5xx"} 1
haproxy_backend_http_responses_total{proxy="prod_web-aaa1_80",code="5xx"} 77
haproxy_backend_http_responses_total{proxy="prod_my-web-aaab_80",code="5xx"} 77
traefik_service_requests_total{code="200",method="GET",service="prod-web-bbb-http-80@kubernetesgateway"} 5
traefik_service_requests_total{code="502",method="GET",service="prod-web-bbb-http-80@kubernetesgateway"} 2
traefik_service_requests_total{code="503",method="PUT",service="prod-web-bbb-http-80@kubernetesgateway"} 1 1700000000
process_start_time_seconds 1.7e9
"""
    rows, arms = counted({"one": page, "two": page}, services)  # type: ignore[arg-type]
    assert [(one.backend, one.server, one.worker, one.responses) for one in rows[:2]] == [
        ("web", "web-aaa of one", 1_700_000_000, {"2xx": 90, "5xx": 1}),
        ("web", "web-aaa of two", 1_700_000_000, {"2xx": 90, "5xx": 1}),
    ]
    assert rows[2].responses == {"2xx": 5, "5xx": 3}
    assert arms["web-bbb of two"] == "canary"


def test_a_service_whose_name_ends_in_anothers_has_its_own_counters() -> None:
    """Two Services lead to one Deployment; the longer name is not taken for both, which would be neither. Unlike names are nobody's."""
    services = {f"{name}-{end}": (name, arm) for name in ("api", "public-api") for end, arm in (("aaa", "stable"), ("bbb", "canary"))}
    page = """
haproxy_backend_http_responses_total{proxy="prod_api-aaa_80",code="2xx"} 1
haproxy_backend_http_responses_total{proxy="prod_public-api-aaa_80",code="2xx"} 2
haproxy_backend_http_responses_total{proxy="prod_public-api-bbb_80",code="2xx"} 3
haproxy_backend_http_responses_total{proxy="prod_api-aaa_80",server="public-api-bbb",code="2xx"} 9
"""
    rows, arms = counted({"one": page}, services)  # type: ignore[arg-type]
    assert [(one.backend, one.server, one.responses["2xx"], arms[one.server]) for one in rows] == [
        ("api", "api-aaa of one", 1, "stable"),
        ("public-api", "public-api-aaa of one", 2, "stable"),
        ("public-api", "public-api-bbb of one", 3, "canary"),
    ]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("n 3", [({}, 3.0)]),
        ("n{} 3", [({}, 3.0)]),
        ('n{a="b"} 3', [({"a": "b"}, 3.0)]),
        ('n{a="x\\"y\\\\z\\n}",} 1.5e3', [({"a": 'x"y\\z\n}'}, 1500.0)]),
        ('n { a = "b" } 3', []),
        ('n{a="b"} NaN', []),
        ('n{a="b"} -1', []),
        ('n{a="b" 3', []),
        ("n{a=b} 3", []),
        ("n", []),
        ("nn 3", []),
    ],
)
def test_a_page_is_read_by_its_own_rules_and_what_is_broken_is_left_out(line: str, wanted: list[tuple[dict[str, str], float]]) -> None:
    """Escapes are undone; a line that cannot be a counter is none."""
    assert [(dict(one.labels), one.value) for one in samples(line, ("n",))] == wanted


def test_a_page_that_is_too_large_is_refused_as_a_whole() -> None:
    """A part of the counters would look like requests that never came."""
    with pytest.raises(ValueError, match="larger"):
        list(samples("x" * (LARGEST + 1), ("n",)))
    with pytest.raises(ValueError, match="more than"):
        list(samples("n 1\n" * 20_001, ("n",)))


def test_a_plan_shows_the_end_and_what_goes_with_the_revisions_before(play: ClusterPlay) -> None:
    """Everything as it is when the next revision is rolled out; the earlier one goes as a revision, and changes nothing now."""
    before = dict(play.namespace.live)
    shaped = play.engine.rolled_out(objects_of("2"), play.namespace.inventory.keys())
    names = {ObjectKey.of(one).subject for one in shaped.manifests}
    next_name = f"web-{apart(objects_of('2')).hashes['web']}"
    assert {f"Deployment/{next_name}", f"Service/{next_name}", "Service/web", "HTTPRoute/web", "ConfigMap/web"} <= names
    assert shaped.retired >= {f"apps/Deployment/prod/{play.name('1')}", f"/Service/prod/{play.name('1')}"}
    assert play.namespace.live == before


SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: prod}
spec:
  replicas: 4
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: "hello/web@REVISION"}]}
"""


def _partition(play: ClusterPlay) -> tuple[str, int | None]:
    spec = play.object("StatefulSet", "db")["spec"]
    image = spec["template"]["spec"]["containers"][0]["image"].partition("@")[2]
    return image, spec.get("updateStrategy", {}).get("rollingUpdate", {}).get("partition")


def _pod(promotion: str, *, ready: bool, restarts: int = 0, of: str = "db") -> Pod:
    kind = "StatefulSet" if of == "db" else "Deployment"
    owner = PodOwner("apps/v1", kind, of, "u")
    return Pod("prod", f"{of}-3", "uid", "Running", "", ready=ready, restarts=restarts, owners=(owner,), promotion=promotion)


def test_a_stateful_set_is_taken_over_from_its_last_pod_on_and_goes_back() -> None:
    """The partition is the step; a return brings the stable template back and ends the pod that would stand in its way."""
    play = ClusterPlay(ManualClock(), SET)
    play.until("1", Phase.FINISHED)
    assert _partition(play) == ("1", None)
    play.until("2", Phase.HOLDING, PLAN)
    assert _partition(play) == ("2", 3)
    assert ObjectKey("apps", "StatefulSet", "prod", "db") not in play.shaped.of_stable
    play.clock.move(11)
    play.until("2", Phase.HOLDING, PLAN)
    assert _partition(play) == ("2", 2)
    play.namespace.running = [_pod("p-2", ready=False, restarts=3), _pod("p-1", ready=False)]
    found = play.at("2", PLAN)
    assert (found.phase, found.reasons[0].code, _partition(play)) == (Phase.RETURNED, "CRASH_LOOP", ("1", None))
    assert [one.uid for one in play.shaped.stuck] == ["uid"]
    assert ObjectKey("apps", "StatefulSet", "prod", "db") in play.shaped.of_stable
    play.namespace.running = []
    play.until("1", Phase.FINISHED)
    play.until("3", Phase.FINISHED, PLAN)
    assert _partition(play) == ("3", None)


@pytest.mark.parametrize("spec", ["updateStrategy: {type: OnDelete}", "updateStrategy: {rollingUpdate: {partition: 1}}"])
def test_a_stateful_set_whose_updates_somebody_steers_is_left_to_them(spec: str) -> None:
    """Pods that are deleted by hand, or a partition that people set: nothing is stepped."""
    play = ClusterPlay(ManualClock(), SET.replace("  serviceName: db", f"  serviceName: db\n  {spec}"))
    play.until("1", Phase.FINISHED)
    assert play.at("2", PLAN).phase is Phase.FINISHED
    assert _partition(play)[0] == "2"


def test_where_a_route_splits_a_stateful_set_follows_last() -> None:
    """It keeps the stable template until the canary is through."""
    play = ClusterPlay(ManualClock(), MANIFESTS + ROUTE + "---" + SET)
    play.until("1", Phase.FINISHED)
    play.until("2", Phase.HOLDING, PLAN)
    assert _partition(play) == ("1", None)
    play.until("2", Phase.FINISHED, PLAN)
    assert _partition(play) == ("2", None)


def test_a_crash_loop_sends_a_revision_back_long_before_its_deadline(play: ClusterPlay) -> None:
    """Three restarts of a pod of the new revision that is not ready; one of another revision says nothing."""
    play.until("2", Phase.HOLDING, PLAN)
    play.namespace.running = [
        _pod("p-1", ready=False, restarts=9, of=play.name("1")),
        _pod("p-2", ready=True, restarts=9, of=play.name("2")),
    ]
    assert play.at("2", PLAN).phase is Phase.HOLDING
    play.namespace.running = [_pod("p-2", ready=False, restarts=3, of=play.name("2"))]
    found = play.at("2", PLAN)
    assert (found.phase, [reason.code for reason in found.reasons]) == (Phase.RETURNED, ["CRASH_LOOP"])


def test_what_ends_again_and_again_goes_back_also_while_an_earlier_revision_is_still_there() -> None:
    """Without a route the kept revision ends first, and that waits for health: a new one that never gets there must not wait with it."""
    play = ClusterPlay(ManualClock(), MANIFESTS)
    play.until("1", Phase.FINISHED)
    play.until("2", Phase.FINISHED, PLAN)
    plain = ObjectKey("apps", "Deployment", "prod", play.name("1"))
    for _ in range(3):
        play.at("3", PLAN)
        play.namespace.inventory[str(plain)] = None  # it waits
    found = play.at("3", PLAN)
    assert (found.phase, found.weight) == (Phase.PREPARING, 0)
    play.namespace.inventory[str(plain)] = None
    play.namespace.running = [_pod("p-3", ready=False, restarts=3, of=play.name("3"))]
    assert play.at("3", PLAN).phase is Phase.RETURNED
