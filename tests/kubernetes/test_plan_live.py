"""Plans against a real API server before anything is merged: what a branch would create, change, be refused and remove there."""

import json
import secrets
import subprocess
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from tools.kubernetes.layout import Layout
from tools.kubernetes.processes import stop

from live_home import SETPOINT_FILE, LiveHome, wait_for
from setpoint.cli.cluster import _content
from setpoint.cli.main import run as command

ENVIRONMENT = """
apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {{kubernetes: {{cluster: {cluster}, namespace: {namespace}, registry: registry.example.com/x}}}}
owners: [team:sre]
drift: {{mode: report}}
prune: {{budget: "1"}}
"""
MAPS = "\n---\n".join(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{greeting: hello}}" for name in "abcd")
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  selector: {app: shop}
  ports: [{port: 80, targetPort: 8080}]
"""
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %(name)s}
spec:
  failurePolicy: Fail
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]}
  validations: [{expression: "!('forbidden' in object.data)", message: "this cluster takes nothing that is forbidden"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %(name)s}
spec:
  policyName: %(name)s
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %(name)s}}}
"""


@dataclass
class Place:
    """A home with an application in a namespace of a control plane."""

    live: LiveHome
    layout: Layout
    namespace: str

    def kubectl(self, *argv: str, given: str = "") -> str:
        """Run kubectl in the namespace and return what it prints."""
        argv = ("kubectl", f"--kubeconfig={self.layout.kubeconfig}", *(() if "-n" in argv else ("-n", self.namespace)), *argv)
        done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def is_healthy(self) -> bool:
        """Say whether the application is there as it is pinned."""
        cells = self.live.api().get("/api/v1/status")["cells"]
        return any(cell["environment"] == "cloud" and cell["health"] == "healthy" for cell in cells)

    def branch(self, name: str, manifests: str) -> str:
        """Push a branch with other manifests and go back to main; returns its commit."""
        folder = self.live.work / "delivery"
        self.live.git(folder, "checkout", "-q", "-b", name, who="sam")
        (folder / "apps/shop/shop.yaml").write_text(manifests)
        self.live.git(folder, "commit", "-qam", name, who="sam")
        self.live.git(folder, "push", "-q", "origin", name, who="sam")
        commit = self.live.git(folder, "rev-parse", "HEAD", who="sam").stdout.strip()
        self.live.git(folder, "checkout", "-q", "main", who="sam")
        return commit

    def plan(self, ref: str, environment: str = "cloud", **query: str) -> dict[str, Any]:
        """Return the plan of a ref in an environment."""
        answer = self.live.api().get("/api/v1/plans", {"ref": ref, "environment": environment, **query})
        (found,) = answer["plans"]
        return dict(found)

    def deployment(self) -> list[str]:
        """Return the uid of the Deployment and what it selects; nothing when there is none."""
        wanted = "jsonpath={.metadata.uid} {.spec.selector.matchLabels.app}"
        return self.kubectl("get", "deployment/shop", "--ignore-not-found", "-o", wanted).split()

    def is_told(self, code: str) -> bool:
        """Say whether a reason of this code is told of the application."""
        return code in {one["code"] for one in self.live.api().get("/api/v1/why/shop/cloud")["reasons"]}

    def page(self, path: str) -> str:
        """Return a page as the operator sees it."""
        ready = self.live.ready
        request = urllib.request.Request(ready["url"] + path, headers={"Authorization": f"Bearer {ready['token']}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(answer.read().decode())

    def version(self) -> str:
        """Return the version of everything in the namespace that plans could have changed."""
        objects = json.loads(self.kubectl("get", "configmaps,services", "-o", "json"))["items"]
        return json.dumps(sorted((one["metadata"]["name"], one["metadata"]["resourceVersion"]) for one in objects))


def _changes(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    assert plan["live"]["compared"], plan
    return {change["object"]: change for change in plan["live"]["objects"]}


@pytest.fixture(scope="module")
def place(live: LiveHome, control_plane: Layout) -> Place:
    """Register the cluster twice, once with an account that may only read, and push an application of four ConfigMaps and a Service."""
    found = Place(live, control_plane, f"plan-{secrets.token_hex(3)}")
    found.kubectl("create", "namespace", found.namespace)
    found.kubectl("create", "serviceaccount", "reader")
    account = f"--serviceaccount={found.namespace}:reader"
    found.kubectl("create", "namespace", f"{found.namespace}-r")
    found.kubectl("create", "rolebinding", "reader", "--clusterrole=view", account, "-n", f"{found.namespace}-r")
    found.kubectl("apply", "-f", "-", given=POLICY % {"name": found.namespace})
    live.api().put("clusters/real", {"kubeconfig": _content(control_plane.kubeconfig, "")})
    config = yaml.safe_load(_content(control_plane.kubeconfig, ""))
    config["users"][0]["user"] = {"token": found.kubectl("create", "token", "reader").strip()}
    live.api().put("clusters/readable", {"kubeconfig": yaml.safe_dump(config)})
    desired: dict[str, str | None] = {
        "setpoint.yaml": SETPOINT_FILE.replace("apps:\n  hello: {source: hello}", "apps:\n  shop: {}"),
        "environments/cloud/environment.yaml": ENVIRONMENT.format(cluster="real", namespace=found.namespace),
        "environments/reading/environment.yaml": ENVIRONMENT.format(cluster="readable", namespace=f"{found.namespace}-r"),
        "apps/shop/shop.yaml": f"{MAPS}\n---\n{SERVICE}",
        "apps/hello/hello.yaml": None,
    }
    live.api().post("/api/v1/delivery", {"repository": "delivery", "commit": live.commit("delivery", desired, who="sam")})
    wait_for("it to be healthy", lambda: found.is_healthy() or None, 90)
    return found


def test_a_branch_is_planned_against_what_is_live_and_nothing_is_written(place: Place) -> None:
    """Created, changed with its writer, refused by a rule of the cluster, kept by the budget: each object says what would happen."""
    place.kubectl("patch", "configmap/b", "--type=merge", "-p", '{"data":{"greeting":"by hand"}}')
    manifests = MAPS.split("\n---\n")
    manifests[0] = manifests[0].replace("hello", "good morning")
    manifests[1] = manifests[1].replace("hello", "good night")
    extra = MAPS.split("\n---\n")[0].replace("name: a", "name: new")
    bad = extra.replace("name: new", "name: bad").replace("greeting", "forbidden")
    place.branch("feature/one", "\n---\n".join([*manifests[:2], extra, bad, SERVICE.replace("80,", "81,")]))
    before = place.version()
    plan = place.plan("feature/one")
    changes = _changes(plan)
    assert place.version() == before
    (first,) = changes["ConfigMap/a"]["fields"]
    assert (first["path"], first["before"], first["after"], first["writer"]) == ("data.greeting", "hello", "good morning", "setpoint")
    (second,) = changes["ConfigMap/b"]["fields"]
    assert (second["before"], second["writer"]) == ("by hand", "kubectl-patch")
    assert changes["ConfigMap/new"]["action"] == "create"
    assert changes["ConfigMap/bad"]["action"] == "refused"
    assert "this cluster takes nothing that is forbidden" in changes["ConfigMap/bad"]["note"]
    assert {changes[f"ConfigMap/{name}"]["action"] for name in "cd"} == {"keep"}
    assert "the budget is 1" in plan["live"]["held"]
    assert changes["Service/shop"]["fields"][0]["path"].startswith("spec.ports[")
    assert "ConfigMap/c: its content is gone from the cluster" in plan["destructive"]


def test_the_verb_prints_it_and_says_by_its_exit_code_whether_it_would_be_taken(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A branch is named alone; what only a branch changes in one place can be asked for, and the page shows the same."""
    place.branch("feature/two", f"{MAPS.replace('hello', 'hi')}\n---\n{SERVICE}")
    monkeypatch.setenv("SETPOINT_URL", place.live.ready["url"])
    monkeypatch.setenv("SETPOINT_TOKEN", place.live.ready["token"])
    assert command(["plan", "shop", "cloud", "--at", "feature/two"]) == 0
    shown = capsys.readouterr().out
    assert "feature/two" in shown
    assert f"namespace {place.namespace} of real: 4 changed, 1 as now" in shown
    assert "~ ConfigMap/a" in shown
    assert "data.greeting: hello -> hi" in shown
    assert command(["plan", "feature/two", "--render-only"]) == 1, "the environments of the host cannot take it"
    shown = capsys.readouterr().out
    assert "changes 4 places" in shown
    assert "error[SP625]" in shown
    assert command(["plan", "nothing/here"]) != 0
    page = place.page("/plans?ref=feature/two")
    assert "data.greeting" in page
    assert f"namespace {place.namespace} of real" in page
    assert "Name a branch or commit." in place.page("/plans")
    assert "Plan of shop in cloud" in place.page("/plan/shop/cloud")


def test_an_account_that_may_only_read_gets_a_prediction(place: Place) -> None:
    """Without the right to patch no dry run is made; what would change is seen from what is live, and says that it was not tried."""
    place.branch("feature/three", f"{MAPS.replace('hello', 'hey')}\n---\n{SERVICE}")
    changes = _changes(place.plan("feature/three", "reading"))
    assert "not tried: our account may not make dry runs there" in json.dumps(changes)
    assert {change["action"] for change in changes.values()} == {"create"}


def test_what_does_not_merge_is_said_and_what_is_merged_is_taken_as_it_was(place: Place) -> None:
    """A conflict names the file; the first commit can be planned too, as a way back."""
    folder = place.live.work / "delivery"
    first = place.live.git(folder, "rev-list", "HEAD", "--", "apps/shop/shop.yaml", who="sam").stdout.split()[-1]
    place.branch("feature/four", f"{MAPS.replace('hello', 'four')}\n---\n{SERVICE}")
    place.live.commit("delivery", {"apps/shop/shop.yaml": f"{MAPS.replace('hello', 'five')}\n---\n{SERVICE}"}, who="sam")
    wait_for("the change", lambda: "five" in place.kubectl("get", "configmap/a", "-o", "yaml") or None, 90)
    with pytest.raises(Exception, match=r"SP116.*apps/shop/shop\.yaml"):
        place.plan("feature/four")
    changes = _changes(place.plan(first))
    assert changes["ConfigMap/a"]["fields"][0]["after"] == "hello"


def test_what_cannot_be_changed_in_place_is_made_anew_where_its_author_says_so(place: Place) -> None:
    """A selector is refused, in the plan and by the pass; with the annotation the plan says what is lost, and the object is another one."""
    deployment = (
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop%s}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: %s}}\n"
        "  template: {metadata: {labels: {app: %s}}, spec: {containers: [{name: a, image: 'r.example.com/x@sha256:%s'}]}}\n"
    )
    wait_for("all pins", lambda: sum(one["kind"] == "promotion.pinned" for one in place.live.journal()) >= 4 or None, 90)
    digest, maps = "0" * 64, f"{MAPS.replace('hello', 'five')}\n---\n{SERVICE}"
    environment = ENVIRONMENT.format(cluster="real", namespace=place.namespace) + f"images: ['r.example.com/x@sha256:{digest}']\n"
    files = {"environments/cloud/environment.yaml": environment, "apps/shop/shop.yaml": maps + deployment % ("", "a", "a", digest)}
    place.live.commit("delivery", files, who="sam")
    first = wait_for("the Deployment", lambda: place.deployment() or None, 90)[0]
    allowed = ", annotations: {setpoint.dev/replace: allow}"
    place.branch("feature/refused", maps + deployment % ("", "b", "b", digest))
    assert _changes(place.plan("feature/refused"))["Deployment/shop"]["action"] == "refused"
    place.branch("feature/allowed", maps + deployment % (allowed, "b", "b", digest))
    change = _changes(place.plan("feature/allowed"))["Deployment/shop"]
    assert change["action"] == "replace"
    assert "it is deleted and made again, and its pods stop" in change["destructive"][0]
    place.live.commit("delivery", {"apps/shop/shop.yaml": maps + deployment % ("", "b", "b", digest)}, who="sam")
    wait_for("the refusal", lambda: place.is_told("OBJECT_IMMUTABLE") or None, 90)
    assert place.deployment() == [first, "a"]
    place.live.commit("delivery", {"apps/shop/shop.yaml": maps + deployment % (allowed, "b", "b", digest)}, who="sam")
    wait_for("another Deployment", lambda: (place.deployment()[1:] == ["b"] and place.deployment()[:1] != [first]) or None, 90)


def test_a_cluster_that_is_down_costs_the_live_part_only(place: Place) -> None:
    """The plan compares renders, says since when nobody answers, and does not hang."""
    place.branch("feature/five", f"{MAPS.replace('hello', 'servus')}\n---\n{SERVICE}")
    stop(place.layout, "kube-apiserver")
    plan = wait_for("a plan of renders", lambda: _unseen(place))
    assert "this plan compares what is rendered, not what is live" in plan["live"]["sentence"]
    said = {one["object"]: one["action"] for one in plan["objects"]}
    assert said.items() >= {f"ConfigMap/{name}": "change" for name in "abcd"}.items()


def _unseen(place: Place) -> dict[str, Any] | None:
    plan = place.plan(place.live.git(place.live.work / "delivery", "rev-parse", "feature/five", who="sam").stdout.strip())
    return None if plan["live"] is None or plan["live"]["compared"] else plan
