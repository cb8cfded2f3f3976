"""A render is kept by what it read: any file that was read, and only such a file, makes it anew; damage and restarts change nothing."""

import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from setpoint.adapters.render_folder import RenderFolder
from setpoint.core import digest
from setpoint.core.errors import UserError
from setpoint.core.recent import Recent
from setpoint.promotion.model import Candidate
from setpoint.reconcile.allowed import Allowed
from setpoint.reconcile.ports import ChartRelease
from setpoint.reconcile.render import Place, Renderers
from setpoint.reconcile.rendering import Rendering
from setpoint.reconcile.renders import Renders, decode, encode
from setpoint.reconcile.sources.files import PinnedFiles
from setpoint.reconcile.sources.registry_charts import NoCharts
from setpoint.source.model import TreeFile
from setpoint.source.ports import GitStore

OBJECT = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {}\n"


class Programs:
    """Kustomize and Helm that note what they were shown, and give one object back."""

    def __init__(self) -> None:
        self.runs: list[dict[str, bytes]] = []
        self.says = "v1"
        self.needs = ""
        """A path without which Kustomize fails, whatever its kustomization says."""

    def version(self) -> str:
        """Return what the programs call themselves."""
        return self.says

    def build(self, root: Path, folder: str) -> bytes:
        """Note what is there."""
        self.runs.append({path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()})
        if self.needs and self.needs not in self.runs[-1]:
            raise UserError("SP611", f"{folder}: no such file")
        return OBJECT

    def template(self, root: Path, release: ChartRelease, *, again: bool = False) -> bytes:
        """Note what is there."""
        assert not again
        return self.build(root, release.chart)


class Memory(dict[str, bytes]):
    """A store in memory."""

    def put(self, key: str, data: bytes) -> None:
        """Keep."""
        self[key] = data


def _pinned(files: Mapping[str, bytes]) -> PinnedFiles:
    blobs = {digest.sha256(data): data for data in files.values()}
    return PinnedFiles({path: digest.sha256(data) for path, data in files.items()}, blobs.__getitem__)


class World:
    """Renders files, with what was run and kept."""

    def __init__(self) -> None:
        self.programs = Programs()
        self.kept = Memory()
        self.renders = Renders(Renderers(self.programs, self.programs, NoCharts()), self.kept)

    def render(self, files: Mapping[str, bytes], includes: tuple[str, ...] = ()) -> int:
        """Render, and return how many runs it took."""
        before = len(self.programs.runs)
        self.renders.render(_pinned(files), Place("web", "prod"), includes)
        return len(self.programs.runs) - before


@pytest.fixture
def world() -> World:
    """A fresh one."""
    return World()


KUSTOMIZED: dict[str, bytes] = {
    "apps/web/kustomization.yaml": b"""resources: [web.yaml, sub, '../web/deep/../plain.yaml']
patches: [{path: patch.yaml}, {patch: "not/a/path.yaml"}]
patchesJson6902: [{path: six.json, target: {kind: Deployment, name: README.md}}]
patchesStrategicMerge: [merge.yaml]
replacements: [{path: replace.yaml}]
configMapGenerator: [{name: notes.txt, files: [settings.ini, 'as.txt=other.txt'], envs: [a.env], literals: ['x=literal.txt']}]
secretGenerator: [{name: s, env: b.env}]
transformers: [transform.yaml]
components: [part]
crds: [crd.yaml]
configurations: [names.yaml]
openapi: {path: schema.json}
namePrefix: unread
""",
    "apps/web/web.yaml": b"# unread.yaml\n",
    "apps/web/plain.yaml": b"a: unread.yaml\n",
    "apps/web/sub/kustomization.yml": b"resources: [in.yaml]\n",
    "apps/web/sub/in.yaml": b"",
    "apps/web/patch.yaml": b"",
    "apps/web/six.json": b"",
    "apps/web/merge.yaml": b"",
    "apps/web/replace.yaml": b"",
    "apps/web/settings.ini": b"",
    "apps/web/other.txt": b"",
    "apps/web/a.env": b"",
    "apps/web/b.env": b"",
    "apps/web/transform.yaml": b"kind: PatchTransformer\npath: patched.yaml\nmore: {files: ['k=keyed.yaml']}\n",
    "apps/web/patched.yaml": b"",
    "apps/web/keyed.yaml": b"",
    "apps/web/part/kustomization.yaml": b"resources: [../piece.yaml]\n",
    "apps/web/piece.yaml": b"",
    "apps/web/crd.yaml": b"",
    "apps/web/names.yaml": b"",
    "apps/web/schema.json": b"",
}
NEVER: dict[str, bytes] = {
    f"apps/web/{name}": b""
    for name in (
        "README.md", "unread.yaml", "unread", "literal.txt", "notes.txt", "not/a/path.yaml", "as.txt", "sub/other.yaml",
        "old/kustomization.yaml",
    )
}  # fmt: skip
CHART: dict[str, bytes] = {
    "apps/web/Chart.yaml": b"name: web\n",
    "apps/web/values.yaml": b"a: 1\n",
    "apps/web/templates/a.yaml": b"",
    "apps/web/notes/read-by-files-get.txt": b"",
    "apps/web/.helmignore": b"# what is not of the chart\n*.md\n/ci/\ndocs/\nold/*.txt\n",
    "environments/prod/web/values.yaml": b"a: 2\n",
    "environments/prod/web/more.yaml": OBJECT,
}
NO_CHART: dict[str, bytes] = {
    "apps/web/README.md": b"",
    "apps/web/sub/deep.md": b"",
    "apps/web/ci/x.yaml": b"",
    "apps/web/sub/docs/x.yaml": b"",
    "apps/web/old/x.txt": b"",
    "apps/web/templates/.hidden.yaml": b"",
    "environments/prod/web/README.md": b"",
}
PLAIN: dict[str, bytes] = {
    "apps/web/a.yaml": OBJECT,
    "apps/web/deep/b.yml": OBJECT.replace(b"one", b"two"),
    "environments/prod/web/c.json": b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"three"}}',
}
NOT_PLAIN: dict[str, bytes] = {"apps/web/README.md": b"", "environments/prod/web/notes.txt": b"", "apps/web/x.yaml.bak": b"["}


def _anew(world: World, files: Mapping[str, bytes]) -> bool:
    """Say whether a render of these files is made now."""
    before = set(world.kept)
    world.render(files)
    return set(world.kept) != before


@pytest.mark.parametrize(("read", "unread"), [(KUSTOMIZED, NEVER), (CHART, NO_CHART), (PLAIN, NOT_PLAIN)])
def test_every_file_that_is_read_and_no_other_renders_anew(world: World, read: dict[str, bytes], unread: dict[str, bytes]) -> None:
    """Each file in turn is changed by one byte: a read one renders anew, another does not; the program sees the read ones only."""
    files = read | unread
    assert _anew(world, files)
    for path in unread:
        assert not _anew(world, files | {path: b"changed\n"}), path
        assert not _anew(world, {name: data for name, data in files.items() if name != path}), path
    assert not _anew(world, files)
    for path, data in read.items():
        assert _anew(world, files | {path: data + (b"#\n" if not path.endswith("json") else b" ")}), path
    for run in world.programs.runs:
        assert {path for path in run if not path.startswith(".values/")} <= read.keys()


def test_another_program_is_another_render(world: World) -> None:
    """A new version of the program renders anew; plain manifests need none."""
    assert (world.render(KUSTOMIZED), world.render(KUSTOMIZED)) == (1, 0)
    world.programs.says = "v2"
    assert world.render(KUSTOMIZED) == 1


def test_a_base_that_appears_where_none_was_renders_anew(world: World) -> None:
    """A second kustomization beside the first would be an error of Kustomize: it is looked at."""
    assert world.render(KUSTOMIZED) == 1
    assert world.render({**KUSTOMIZED, "apps/web/Kustomization": b""}) == 1


def test_a_file_that_was_not_found_by_its_name_is_there_at_the_second_try(world: World) -> None:
    """What Kustomize misses is given to it with everything else, and then everything is an input of the render."""
    files = {"apps/web/kustomization.yaml": b"resources: []\n", "apps/web/hidden.yaml": b"", "apps/web/README.md": b""}
    world.programs.needs = "apps/web/hidden.yaml"
    assert world.render(files) == 2
    assert world.render(files) == 1  # the first try fails again, the second is known
    assert world.render({**files, "apps/web/README.md": b"x"}) == 2


def test_a_kustomization_that_is_not_understood_reads_everything(world: World) -> None:
    """Kustomize says what is wrong; our reading of it never hides a file."""
    files = {"apps/web/kustomization.yaml": b"resources: [\n", "apps/web/README.md": b""}
    world.render(files)
    assert world.programs.runs[0].keys() == files.keys()


def test_what_is_kept_is_what_was_rendered() -> None:
    """A kept render comes back as it was; of another key, or changed by a byte, it is none."""
    world = World()
    world.render(PLAIN)
    ((key, data),) = world.kept.items()
    rendered = decode(data, key)
    assert rendered is not None
    assert encode(rendered, key) == data
    assert decode(data, "sha256:" + "0" * 64) is None
    assert decode(data.replace(b"three", b"throe"), key) is None
    assert decode(b"[]", key) is None
    world.kept[key] = b"torn"
    assert _kept_anew(world, key)


def _kept_anew(world: World, key: str) -> bool:
    world.render(PLAIN)
    return decode(world.kept[key], key) is not None


def test_kept_renders_survive_a_restart_and_are_bounded(tmp_path: Path) -> None:
    """Another process finds them; beyond the bound those go that were used longest ago; a torn file is none."""
    keys = [digest.sha256(bytes([number])) for number in range(40)]
    folder = RenderFolder(tmp_path, limit_bytes=20_000)
    folder.put(keys[0], b"x" * 100)
    assert RenderFolder(tmp_path).get(keys[0]) == b"x" * 100
    assert folder.get(keys[1]) is None
    for number, key in enumerate(keys):
        folder.put(key, _noise(number))
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size <= 20_000
    assert folder.get(keys[-1]) == _noise(39)
    place = next(path for path in tmp_path.rglob("*.z") if path.name.startswith(keys[-1].removeprefix("sha256:")))
    place.write_bytes(place.read_bytes()[:-9])
    assert folder.get(keys[-1]) is None


def _noise(number: int) -> bytes:
    return b"".join(digest.sha256(bytes([number, part])).encode() for part in range(30))


def test_a_disk_without_room_costs_time_only(tmp_path: Path) -> None:
    """Nothing is kept where nothing can be written, and nothing fails."""
    (tmp_path / "file").write_bytes(b"")
    folder = RenderFolder(tmp_path / "file" / "below")
    folder.put(digest.sha256(b"a"), b"x")
    assert folder.get(digest.sha256(b"a")) is None


class Monorepo:
    """A delivery repository of many applications: tree ids by application."""

    def __init__(self, count: int) -> None:
        self.kustomization = {name: b"resources: [a.yaml]\n#%d\n" % number for number, name in enumerate(self._names(count))}
        self.fetched: list[str] = []
        self.name = "kustomization.yaml"

    @staticmethod
    def _names(count: int) -> Iterator[str]:
        return (f"app-{number}" for number in range(count))

    def candidate(self, app: str) -> Candidate:
        """Return the candidate at HEAD."""
        return Candidate(app, "prod", {}, f"{app}@{digest.sha256(self.kustomization[app])}", None)

    def files(self, _repository: str, tree: str) -> list[TreeFile]:
        """List a tree."""
        return [TreeFile(self.name, 0o100644, tree), TreeFile("a.yaml", 0o100644, "a")]

    def blob(self, _repository: str, blob: str) -> bytes:
        """Read a blob."""
        self.fetched.append(blob)
        return OBJECT if blob == "a" else self.kustomization[blob.partition("@")[0]]


def test_a_commit_in_a_monorepo_of_a_thousand_applications_renders_what_it_touches(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one application changed, looking at all of them renders exactly one, and a restart renders none."""
    if Path("/dev/shm").is_dir():  # noqa: S108 - a thousand scratch folders cost seconds on a disk
        monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")  # noqa: S108
    world, repo = World(), Monorepo(1000)

    def rendering() -> Rendering:
        renders = Renders(Renderers(world.programs, world.programs, NoCharts()), world.kept)
        return Rendering(cast("GitStore", repo), renders, lambda _app, _environment: Allowed())

    def look(at: Rendering) -> int:
        before = len(world.programs.runs)
        for app in repo.kustomization:
            assert at.render_facts(repo.candidate(app), "delivery").error == ""
        return len(world.programs.runs) - before

    running = rendering()
    assert look(running) == 1000
    fetched = len(repo.fetched)
    repo.kustomization["app-500"] += b"namePrefix: new-\n"
    assert look(running) == 1
    assert len(repo.fetched) - fetched == 2
    assert look(rendering()) == 0


def test_what_is_kept_in_memory_is_bounded_by_weight() -> None:
    """The least recently used goes first, and one that is too heavy alone stays until the next comes."""
    kept: Recent[str, int] = Recent(10)
    for number, name in enumerate("abc"):
        kept.put(name, number, 4)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (None, 1, 2)
    kept.get("b")
    kept.put("d", 3, 4)
    assert (kept.get("c"), kept.get("b")) == (None, 1)
    kept.put("e", 4, 99)
    assert (kept.get("e"), len(kept)) == (4, 1)


class LateCharts:
    """A registry to which a chart is pushed later."""

    def __init__(self) -> None:
        self.pushed: dict[str, bytes] = {}

    def chart(self, repository: str, digest: str) -> Mapping[str, bytes]:
        """Return the chart, once it is there."""
        if not self.pushed:
            raise UserError("SP619", "the registry has no such chart", where=f"oci://{repository}@{digest}")
        return self.pushed


def test_a_chart_that_is_pushed_after_its_commit_is_rendered_at_the_next_look(world: World) -> None:
    """That the registry does not have it yet is no fault of the candidate that is kept; once it was there, nobody asks for it again."""
    charts, repo = LateCharts(), Monorepo(1)
    text = "apiVersion: setpoint.dev/v1alpha1\nkind: Helm\nchart: oci://charts/web@sha256:" + "a" * 64 + "\n"
    repo.kustomization["app-0"] = text.encode()
    repo.name = "helm.yaml"
    renders = Renders(Renderers(world.programs, world.programs, charts), world.kept)
    rendering = Rendering(cast("GitStore", repo), renders, lambda _app, _environment: Allowed())
    assert "SP619" in rendering.render_facts(repo.candidate("app-0"), "delivery").error
    charts.pushed = {"Chart.yaml": b"name: web\n"}
    assert rendering.render_facts(repo.candidate("app-0"), "delivery").error == ""
    assert ".chart/Chart.yaml" in world.programs.runs[-1]
    charts.pushed = {}
    again = Rendering(cast("GitStore", repo), renders, lambda _app, _environment: Allowed())
    assert again.render_facts(repo.candidate("app-0"), "delivery").error == ""


def test_who_asks_at_the_same_time_gets_one_render(world: World) -> None:
    """Eight askers of one candidate: the program runs once, and all get the same."""
    together, files = threading.Barrier(8), _pinned(KUSTOMIZED)

    def ask(_number: int) -> str:
        together.wait(10)
        return world.renders.render(files, Place("web", "prod")).digest

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(8)))
    assert (len(found), len(world.programs.runs)) == (1, 1)


def test_a_target_s_namespace_is_part_of_the_render(world: World) -> None:
    """The same files for a namespace of another name are another render, and its name is what objects may say."""
    named = {"apps/web/a.yaml": OBJECT.replace(b"name: one", b"name: one, namespace: shop")}
    pinned = _pinned(named)
    assert world.renders.render(pinned, Place("web", "prod", "shop")).objects
    with pytest.raises(UserError, match="SP608"):
        world.renders.render(pinned, Place("web", "prod"))
    assert len(world.kept) == 1
