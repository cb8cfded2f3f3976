"""A chart on the road: from an included folder with each environment's values, then from the registry by digest, pushed by stock Helm."""

import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from live_home import APP, MANIFESTS, PIPELINE, SETPOINT_FILE, TESTS, LiveHome, running_home, wait_for
from setpoint.core.errors import SetpointError
from stock_helm import stock_helm

INCLUDING = (
    SETPOINT_FILE.replace("{source: hello}", "{source: hello, includes: [charts/web]}")
    .replace("  sam:", "  ann: {emails: [ann@example.com]}\n  sam:")
    .replace("sre: [sam]", "sre: [sam, ann]")
)
SAYS = APP.replace('TEXT = b"%s"', 'TEXT = os.environ["SAYS"].encode()')
CHART = {
    "charts/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "charts/web/values.yaml": "image: nothing\nsays: chart\nreplicas: 1\n",
    "charts/web/templates/all.yaml": MANIFESTS.replace("replicas: 1", "replicas: {{ .Values.replicas }}").replace(
        "          image: web\n", "          image: {{ .Values.image }}\n          env: [{name: SAYS, value: {{ .Values.says | quote }}}]\n"
    ),
}
HELM = "apiVersion: setpoint.dev/v1alpha1\nkind: Helm\nchart: %s\n"


@pytest.fixture(scope="module")
def live() -> Iterator[LiveHome]:
    """A home whose server finds stock Helm on its PATH."""
    with running_home(helm=stock_helm()) as found:
        yield found


def plan(live: LiveHome) -> dict[str, Any]:
    """Return the plan for production."""
    found: dict[str, Any] = live.api().get("/api/v1/plan/hello/production")
    return found


def test_a_chart_of_an_included_folder_serves_each_environments_values(live: LiveHome) -> None:
    """The chart lies in another folder; its values are the application's and the environment's; the pin names the folder's tree."""
    files: dict[str, str | None] = {
        "setpoint.yaml": INCLUDING,
        **CHART,
        "apps/hello/hello.yaml": None,
        "apps/hello/helm.yaml": HELM % "../../charts/web",
        "apps/hello/values.yaml": "image: web\n",
        "environments/staging/hello/values.yaml": "says: staging\n",
        "environments/production/hello/values.yaml": "says: production\n",
    }
    live.commit("delivery", files, "a chart", who="sam")
    live.commit("hello", {"app.py": SAYS, "tests.sh": TESTS, ".setpoint/pipeline.yaml": PIPELINE}, "says what it is told")
    live.serves("staging", "staging")
    tree = live.git(live.work / "delivery", "rev-parse", "HEAD:charts/web").stdout.strip()
    live.git(live.work / "delivery", "pull", "-q", "--rebase", "origin", "main", who="sam")
    pin = (live.work / "delivery" / "pins" / "staging" / "hello.yaml").read_text()
    assert f'  includes:\n    "charts/web": "{tree}"\n' in pin
    waiting = wait_for("a promotion that lacks only an approval", live.only_approval_missing)
    with pytest.raises(SetpointError, match="SP511"):  # nothing is pinned there yet, and all that is to come is his
        live.api("sam").post(f"/api/v1/promotions/{waiting}/approve", {"message": "mine"})
    live.api("ann").post(f"/api/v1/promotions/{waiting}/approve", {"message": "looks good"})
    live.serves("production", "production")


def test_a_commit_to_the_chart_alone_is_a_candidate_and_the_plan_names_the_folder(live: LiveHome) -> None:
    """Staging takes it at once; production waits, its plan shows the folder, and who wrote the commit cannot approve it."""
    more = CHART["charts/web/values.yaml"].replace("replicas: 1", "replicas: 2")
    live.commit("delivery", {"charts/web/values.yaml": more}, "two of them", who="sam")
    wait_for("two in staging", lambda: live.cell("staging").get("replicas_ready") == 2 or None)
    found = wait_for("the plan", lambda: (answer := plan(live))["folders"] and answer)
    assert [change["folder"] for change in found["folders"]] == ["charts/web"]
    assert [field["path"] for change in found["objects"] for field in change["fields"]] == ["spec.replicas"]
    told = wait_for("the gate", lambda: next((r for r in live.why("production")["reasons"] if r["code"] == "APPROVAL_MISSING"), None))
    assert told["found"].endswith("may approve: ann"), told
    with pytest.raises(SetpointError, match="SP511"):
        live.api("sam").post(f"/api/v1/promotions/{live.cell('production')['waiting']['promotion']}/approve", {"message": "mine"})
    assert live.answer(live.production)[0] == "production"


def test_a_fault_in_the_chart_is_a_reason_with_its_place_and_what_runs_goes_on(live: LiveHome) -> None:
    """The candidate is not pinned; `why` names the template's line; the next commit mends it."""
    broken = CHART["charts/web/templates/all.yaml"].replace(".Values.replicas", ".Values.no.replicas")
    live.commit("delivery", {"charts/web/templates/all.yaml": broken}, "broken", who="sam")

    def told() -> dict[str, Any] | None:
        return next((r for r in live.why("staging")["reasons"] if "charts/web/templates/all.yaml:" in str(r)), None)

    assert "nil pointer" in str(wait_for("the reason", told))
    assert live.answer(live.staging)[0] == "staging"
    live.commit("delivery", {"charts/web/templates/all.yaml": CHART["charts/web/templates/all.yaml"]}, "mended", who="sam")
    wait_for("no reason any more", lambda: told() is None or None)


def test_a_chart_pushed_by_stock_helm_is_rendered_by_its_digest(live: LiveHome) -> None:
    """`helm push` to the embedded registry, the digest it prints in helm.yaml: the same objects from the registry."""
    program, folder = str(stock_helm()), live.work / "pushed"
    for path, text in CHART.items():
        place = folder / path.removeprefix("charts/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text.replace("says: chart", "says: chart\nextra: 1"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}

    def helm(*argv: str) -> str:
        done = subprocess.run([program, *argv], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    helm("package", "web")
    registry = live.ready["registry"]
    helm("registry", "login", registry, "--plain-http", "-u", "anybody", "-p", live.ready["token"])
    match = re.search(r"Digest: (sha256:[0-9a-f]{64})", helm("push", "web-1.0.0.tgz", f"oci://{registry}/charts", "--plain-http"))
    assert match
    files = {
        "apps/hello/helm.yaml": HELM % f"oci://charts/web@{match[1]}",
        "environments/staging/hello/values.yaml": "says: from the registry\n",
    }
    live.commit("delivery", files, "from the registry", who="sam")
    live.serves("staging", "from the registry")
    live.commit("delivery", {"apps/hello/helm.yaml": HELM % f"oci://charts/web@sha256:{'0' * 64}"}, "not there", who="sam")
    wait_for("the reason", lambda: next((r for r in live.why("staging")["reasons"] if "SP619" in str(r)), None))
    assert live.answer(live.staging)[0] == "from the registry"
