"""Where a live value belongs, with real Kustomize and Helm: a proven place, no other environment's render, or a refusal with a way out."""

from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.helm import HelmBinary
from setpoint.adapters.kustomize import KustomizeBinary
from setpoint.adapters.render_folder import RenderFolder
from setpoint.core.errors import UserError
from setpoint.promotion.config import parse_environment, parse_setpoint
from setpoint.promotion.repository import Delivery
from setpoint.reconcile.adopt.model import Edit
from setpoint.reconcile.adopt.search import Search
from setpoint.reconcile.adopt.trial import Trials
from setpoint.reconcile.cluster.comparing import ObjectPlan
from setpoint.reconcile.cluster.decide import Action, Allowed, ObjectVerdict, Seen
from setpoint.reconcile.cluster.live_field import LiveField, find
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.model import identity
from setpoint.reconcile.render import Renderers
from setpoint.reconcile.renders import Renders
from setpoint.reconcile.sources.registry_charts import NoCharts
from stock_helm import helm

pytestmark = pytest.mark.sandbox

ENVIRONMENT = (
    'apiVersion: setpoint.dev/v1alpha1\nkind: Environment\ntarget: {kubernetes: {cluster: c, namespace: n, registry: "r.example.com/x"}}\n'
)
DEPLOYMENT = """# The web server.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2   # enough for now
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: web
          workingDir: "/srv"
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {greeting: hello}\n"
KUSTOMIZATION = "# what there is\nresources: [../../../apps/web]\n"


OWNED = {
    "manager": "setpoint",
    "operation": "Apply",
    "apiVersion": "apps/v1",
    "fieldsType": "FieldsV1",
    "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:name": {}}}}}}},
}
"""How the server says that containers are told apart by name."""


class Place:
    """A delivery repository with two environments, and trial renders of it."""

    def __init__(self, root: Path, files: dict[str, str], renderer: HelmBinary) -> None:
        self.git = GitRepositories(root / "git")
        self.git.create("delivery")
        self.head = self._commit({path: text.encode() for path, text in files.items()})
        setpoint = parse_setpoint(b"apiVersion: setpoint.dev/v1alpha1\nkind: Setpoint\napps: {web: {}}\n").model
        environment = parse_environment(ENVIRONMENT.encode(), "environments/p/environment.yaml").model
        environments = {"p": environment, "q": environment}
        self.delivery = Delivery("delivery", "main", self.head, self.head, setpoint, environments)
        (root / "renders").mkdir()
        self.renders = Renders(Renderers(KustomizeBinary(), renderer, NoCharts()), RenderFolder(root / "renders"))

    def _commit(self, files: dict[str, bytes]) -> str:
        tree = self.git.write_tree("delivery", None, files)
        payload = f"tree {tree}\nauthor a <a@b.c> 0 +0000\ncommitter a <a@b.c> 0 +0000\n\nfiles\n".encode()
        return self.git.write_signed_commit("delivery", payload, b"-----BEGIN SSH SIGNATURE-----\nx\n-----END SSH SIGNATURE-----\n")

    def trials(self) -> Trials:
        """Return trials that cost nothing yet."""
        return Trials(self.delivery, "web", self.git, self.renders)

    def wish(self, environment: str, subject: str, field: str, value: Any) -> LiveField:
        """Return what somebody made of a field of the environment's render."""
        manifest = next(one for one in self.trials().render(environment).objects if identity(one) == subject)
        live = _changed(manifest, field, value)
        live["metadata"] = {**live["metadata"], "managedFields": [OWNED]}
        row = ObjectPlan(ObjectKey.of(manifest), manifest, Seen(live, known=True), ObjectVerdict(Action.NOTHING), Allowed("setpoint"))
        found = find([row], subject, field)
        assert found is not None
        return found

    def adopt(self, environment: str, subject: str, field: str, value: Any) -> dict[str, str]:
        """Return {path: changed text} of the files."""
        trials = self.trials()
        edits = Search(trials, environment).find(self.wish(environment, subject, field, value))
        for path, data in edits.items():
            old = (self.git.read("delivery", self.head, path) or b"").decode()
            assert Edit.between(path, "b" if old else "", old, data.decode()).applied(old) == data.decode()
        return {path: data.decode() for path, data in edits.items()}


def _changed(value: Any, field: str, new: Any) -> Any:
    """Return an object with one value changed; items of lists are named as differences name them."""
    name, _, rest = field.partition(".")
    word, _, label = name.partition("[")
    if not label:
        return {**value, word: _changed(value.get(word, {}), rest, new) if rest else new}
    items = [_changed(item, rest, new) if item["name"] == label[:-1] else item for item in value[word]]
    return {**value, word: items}


def place(root: Path, files: dict[str, str], renderer: HelmBinary | None = None) -> Place:
    """Make a repository; both environments have a file."""
    both = {f"environments/{name}/environment.yaml": ENVIRONMENT for name in ("p", "q")}
    return Place(root, {**both, **files}, renderer or HelmBinary(Path("/nonexistent")))


def test_a_plain_manifest_of_the_environment_has_one_changed_line(tmp_path: Path) -> None:
    """Its own object over the application's: comment and everything beside the value stay."""
    path = "environments/p/web/web.yaml"
    found = place(tmp_path, {"apps/web/web.yaml": DEPLOYMENT, path: DEPLOYMENT}).adopt("p", "Deployment/web", "spec.replicas", 5)
    assert found == {path: DEPLOYMENT.replace("replicas: 2 ", "replicas: 5 ")}


def test_a_value_that_other_environments_read_too_is_not_changed_for_one(tmp_path: Path) -> None:
    """The refusal names file, line and environments, and says how this one gets a word of its own; its own copy is changed."""
    shared = place(tmp_path, {"apps/web/web.yaml": DEPLOYMENT})
    with pytest.raises(UserError) as caught:
        shared.adopt("p", "Deployment/web", "spec.replicas", 5)
    assert caught.value.code == "SP578"
    assert "apps/web/web.yaml:6 sets it, and for q too" in caught.value.what
    assert "environments/p/web" in caught.value.fix


def test_the_applications_file_is_changed_where_nobody_else_reads_that_object(tmp_path: Path) -> None:
    """The other environment has the whole object of its own, so its render stays."""
    files = {"apps/web/web.yaml": DEPLOYMENT, "environments/q/web/web.yaml": DEPLOYMENT}
    assert place(tmp_path, files).adopt("p", "Deployment/web", "spec.replicas", 5).keys() == {"apps/web/web.yaml"}


def test_an_existing_patch_of_the_overlay_is_preferred(tmp_path: Path) -> None:
    """A value that it sets is changed there; another field of its object becomes one more line of it."""
    patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  # by sre\n  replicas: 4\n"
    files = {
        "apps/web/kustomization.yaml": "resources: [web.yaml]\n",
        "apps/web/web.yaml": DEPLOYMENT,
        "environments/p/web/kustomization.yaml": KUSTOMIZATION + "patches:\n- path: size.yaml   # big\n",
        "environments/p/web/size.yaml": patch,
        "environments/q/web/kustomization.yaml": KUSTOMIZATION,
    }
    overlay = place(tmp_path, files)
    path = "environments/p/web/size.yaml"
    assert overlay.adopt("p", "Deployment/web", "spec.replicas", 5) == {path: patch.replace("4", "5")}
    found = overlay.adopt("p", "Deployment/web", "spec.template.spec.containers[web].workingDir", "/var")
    added = "  template:\n    spec:\n      containers:\n        - name: web\n          workingDir: /var\n"
    assert found == {path: patch + added}


def test_a_kustomizations_own_number_is_changed_where_it_is(tmp_path: Path) -> None:
    """`replicas:` of the overlay sets it, not the manifest: only a trial can tell."""
    overlay = KUSTOMIZATION + "replicas: [{name: web, count: 3}]\n"
    files = {
        "apps/web/kustomization.yaml": "resources: [web.yaml]\n",
        "apps/web/web.yaml": DEPLOYMENT,
        "environments/p/web/kustomization.yaml": overlay,
    }
    found = place(tmp_path, files).adopt("p", "Deployment/web", "spec.replicas", 5)
    assert found == {"environments/p/web/kustomization.yaml": overlay.replace("count: 3", "count: 5")}


def test_where_the_overlay_says_nothing_of_it_a_patch_is_added(tmp_path: Path) -> None:
    """One new file with just this field, and one line that names it; the base and the other environment stay as they are."""
    files = {
        "apps/web/kustomization.yaml": "resources: [web.yaml, config.yaml]\n",
        "apps/web/web.yaml": DEPLOYMENT,
        "apps/web/config.yaml": CONFIG,
        "environments/p/web/kustomization.yaml": KUSTOMIZATION,
        "environments/q/web/kustomization.yaml": KUSTOMIZATION,
    }
    found = place(tmp_path, files).adopt("p", "ConfigMap/web", "data.greeting", "good day: sir")
    own = "environments/p/web"
    assert found.keys() == {f"{own}/kustomization.yaml", f"{own}/adopted-configmap-web.yaml"}
    assert found[f"{own}/kustomization.yaml"] == KUSTOMIZATION + "patches:\n  - path: adopted-configmap-web.yaml\n"
    assert found[f"{own}/adopted-configmap-web.yaml"].splitlines()[1:] == [
        "apiVersion: v1",
        "kind: ConfigMap",
        "metadata:",
        "  name: web",
        "data:",
        '  greeting: "good day: sir"',
    ]


CHART = {
    "apps/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 0.1.0\n",
    "apps/web/values.yaml": "# defaults\nweb:\n  replicas: 2\n  other: 2\nlabel: two\n",
    "apps/web/templates/web.yaml": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: {{ .Values.web.replicas }}\n"
        "  minReadySeconds: {{ add .Values.web.other 1 }}\n"
        "  template:\n    metadata: {labels: {size: {{ .Values.label }}, again: {{ .Values.label }}}}\n"
        "    spec: {containers: [{name: web, image: web}]}\n"
    ),
}


def test_a_value_of_a_chart_is_set_for_the_environment_alone(tmp_path: Path) -> None:
    """In its values file, where there is one the line that sets it; else the name that the trial proved, in a file of its own."""
    own = "environments/p/web/values.yaml"
    chart = place(tmp_path / "a", CHART | {own: "web: {replicas: 3}  # more\n"}, helm())
    assert chart.adopt("p", "Deployment/web", "spec.replicas", 5) == {own: "web: {replicas: 5}  # more\n"}
    bare = place(tmp_path / "b", CHART, helm())
    (path, text), *more = bare.adopt("p", "Deployment/web", "spec.replicas", 5).items()
    assert (path, more, text.splitlines()[1:]) == (own, [], ["web:", "  replicas: 5"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("spec.minReadySeconds", 9), ("spec.template.metadata.labels.size", "ten"), ("spec.template.spec.containers[web].image", "x")],
)
def test_what_no_value_is_proven_to_set_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    """A number that the template computes, a value that sets two fields, a word of the template itself: each is somebody's to write."""
    with pytest.raises(UserError) as caught:
        place(tmp_path, CHART, helm()).adopt("p", "Deployment/web", field, value)
    assert caught.value.code == "SP577"
    assert "setpoint heal" in caught.value.fix
