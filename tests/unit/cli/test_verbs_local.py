"""The verbs that need no server: init, check, run, doctor, down, and `up` as far as it refuses; on real repositories and a real sandbox."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.git.store import GitRepositories
from setpoint.app import doctor
from setpoint.app.home import Home
from setpoint.app.starter import pipeline
from setpoint.cli.main import run
from setpoint.pipeline.config import parse_pipeline
from stock_helm import stock_helm


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder with a home, a cache and a git identity of its own."""
    monkeypatch.setenv("SETPOINT_HOME", str(tmp_path / "state" / "setpoint"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = Ann\n\temail = ann@example.com\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("SETPOINT_URL", "SETPOINT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    yield work
    for link in tmp_path.rglob("*.run"):  # as root, a folder below /var/lib stands behind it
        shutil.rmtree(link.resolve(), ignore_errors=True)


@pytest.fixture
def example(place: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The example `hello`."""
    assert run(["init", "--example", "hello"]) == 0
    capsys.readouterr()
    return place / "hello"


def git(folder: Path, *words: str) -> str:
    """Run git in a folder."""
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout.strip()


def test_init_example_makes_two_hosted_repositories(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has one commit by the user, an origin that has it, and the home has a request for the next `up`; nothing is overwritten."""
    home = example.parent.parent / "state" / "setpoint"
    request = json.loads((home / "inbox" / "0001.json").read_text())
    commit = git(example / "delivery", "rev-parse", "HEAD")
    assert request == {"repositories": ["hello", "delivery"], "delivery": "delivery", "branch": "main", "commit": commit}
    for part, name in (("app", "hello"), ("delivery", "delivery")):
        assert git(example / part, "log", "--format=%ae") == "ann@example.com"
        assert git(example / part, "status", "--porcelain", "--branch") == "## main...origin/main"
        assert git(home / "repositories" / f"{name}.git", "rev-parse", "main") == git(example / part, "rev-parse", "HEAD")
    assert "ann@example.com" in (example / "delivery" / "setpoint.yaml").read_text()
    assert "not: []" in (example / "delivery" / "environments" / "production" / "environment.yaml").read_text()
    assert run(["init", "--example", "hello"]) == 1
    assert "SP827" in capsys.readouterr().err
    assert run(["init", "--example", "other"]) == 1
    assert "already hosts a repository `delivery`" in capsys.readouterr().err
    assert not (example.parent / "other").exists()


@pytest.mark.parametrize(("name", "code"), [("Hello", "SP520"), ("../x", "SP520"), ("delivery", "SP828")])
def test_init_refuses_names_before_writing(place: Path, capsys: pytest.CaptureFixture[str], name: str, code: str) -> None:
    """A name that no application may have is refused, and nothing was made."""
    assert run(["init", "--example", name]) == 2
    assert code in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_init_without_a_git_identity_commits_as_a_stand_in(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no git identity can go on committing: the stand-in is written into both repositories."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    assert run(["init", "--example", "hello"]) == 0
    (place / "hello" / "app" / "more.txt").write_text("more\n")
    git(place / "hello" / "app", "add", ".")
    git(place / "hello" / "app", "commit", "-qm", "more")
    assert git(place / "hello" / "app", "log", "-1", "--format=%ae") == "you@example.com"


def test_init_registers_a_hosted_repository_for_later(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a server a request is left; what is not hosted, or has no such commit, is refused."""
    assert run(["init", "--delivery", "delivery", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["commit"] == git(example / "delivery", "rev-parse", "HEAD")
    assert run(["init", "--delivery", "nothing"]) == 2
    assert run(["init", "--delivery", "delivery", "--accept", "f" * 40]) == 2
    assert run(["init", "--accept", "f" * 40]) == 2
    assert run(["init", "--example", "x", "--accept", "f" * 40]) == 2


def test_init_writes_a_pipeline_that_check_accepts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In an empty folder it writes a commented file, once."""
    assert run(["init"]) == 0
    assert "apiVersion: setpoint.dev/v1alpha1" in capsys.readouterr().out
    assert run(["check"]) == 0
    assert run(["init"]) == 1


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, "replace this"),
        ({"Makefile": "test:\n\ttrue\n"}, "run: make test"),
        ({"tests/test_a.py": ""}, "unittest discover"),
        ({"tests/test_a.py": "", "src/a/__main__.py": "", "requirements.lock": "pytest==9 --hash=sha256:00\n"}, "pytest -q --junitxml"),
    ],
)
def test_the_starter_is_sound_for_what_is_there(tmp_path: Path, files: dict[str, str], wanted: str) -> None:
    """Whatever lies in the folder, the text is a sound pipeline and fits."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    text = pipeline(tmp_path)
    assert wanted in text
    assert parse_pipeline(text.encode(), "pipeline.yaml").tasks["test"].run


def test_check_accepts_the_example(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both repositories at once, each alone, and as JSON."""
    assert run(["check", str(example)]) == 0
    shown = capsys.readouterr()
    assert shown.out == "ok: 2 tasks, 1 artifact, 2 environments, 3 gates\n"
    assert "note: production: `not: []`: nobody is excluded from approving their own change" in shown.err
    assert run(["check", str(example / "app")]) == 0
    assert capsys.readouterr().out == "ok: 2 tasks, 1 artifact, 0 environments, 0 gates\n"
    assert run(["check", str(example / "delivery"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gates"] == 3


def test_check_of_the_delivery_alone_knows_mounted_artifacts(example: Path) -> None:
    """Without the source's pipeline, the bare name in an image volume is taken for an artifact, as that of a container is."""
    deployment = example / "delivery/apps/hello/deployment.yaml"
    edit(deployment, "      containers:\n", "      volumes: [{name: model, image: {reference: model}}]\n      containers:\n")
    assert run(["check", str(example / "delivery")]) == 0


def _as_chart(delivery: Path) -> None:
    """Make the example's application a chart in a folder that it includes."""
    chart, own = delivery / "charts" / "web", delivery / "apps" / "hello"
    (chart / "templates").mkdir(parents=True)
    for path in own.iterdir():
        path.rename(chart / "templates" / path.name)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
    (own / "helm.yaml").write_text("apiVersion: setpoint.dev/v1alpha1\nkind: Helm\nchart: /charts/web\n")
    for path in (delivery / "environments").glob("*/hello"):
        shutil.rmtree(path)


def test_check_renders_a_chart_of_an_included_folder(
    example: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the include the chart is not there; with it it is rendered; a chart of the registry, which is not here, is a note."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "helm").symlink_to(stock_helm())
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    delivery = example / "delivery"
    _as_chart(delivery)
    assert run(["check", str(delivery)]) == 1
    shown = capsys.readouterr().err
    assert "SP617" in shown
    assert "includes:" in shown
    text = (delivery / "setpoint.yaml").read_text()
    edit(delivery / "setpoint.yaml", "source: hello", "includes: [charts/web, lib], source: hello")
    assert run(["check", str(delivery)]) == 1
    assert "there is no folder lib/" in capsys.readouterr().err
    (delivery / "setpoint.yaml").write_text(text.replace("source: hello", "includes: [charts/web], source: hello"))
    assert run(["check", str(delivery)]) == 0
    edit(delivery / "apps" / "hello" / "helm.yaml", "/charts/web", f"oci://charts/web@sha256:{'0' * 64}")
    capsys.readouterr()
    assert run(["check", str(delivery)]) == 0
    assert "hello in staging is not rendered here" in capsys.readouterr().err


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_check_reports_everything_at_once_with_places(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Faults of pipeline, environment, policy, image, manifest and inputs come together, each with its file."""
    edit(example / "app/.setpoint/pipeline.yaml", "inputs: [assets/**]", "inputs: [asset/**]")
    edit(example / "app/.setpoint/pipeline.yaml", '"src/": /app/', '"source/": /app/')
    edit(example / "delivery/environments/production/environment.yaml", "evidence.tests.total > 0", "evidence.tests.total >")
    edit(example / "delivery/apps/hello/deployment.yaml", "image: web", "image: wob")
    edit(example / "delivery/apps/hello/route.yaml", "port: 80", "prt: 80")
    assert run(["check", str(example), "--json"]) == 1
    found = {(finding["code"], finding["path"].partition(":")[0]) for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert {
        ("SP230", "app/.setpoint/pipeline.yaml"),
        ("SP311", "app/.setpoint/pipeline.yaml"),
        ("SP537", "delivery/environments/production/environment.yaml"),
        ("SP621", "delivery/apps/hello/deployment.yaml"),
    } <= found
    edit(example / "delivery/apps/hello/deployment.yaml", "image: wob", "image: web")
    assert run(["check", str(example)]) == 1
    shown = capsys.readouterr().err
    assert "--> app/.setpoint/pipeline.yaml:" in shown
    assert "delivery/apps/hello/route.yaml" in shown
    assert "^^^" in shown
    assert "findings in" in shown


def test_check_judges_pods_and_names_of_policies(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pod that breaks the environment's standard is told with its file, and a policy's mistyped name with its place."""
    edit(example / "delivery/environments/staging/environment.yaml", "owners:", "gates: {pods: restricted}\nowners:")
    edit(example / "delivery/environments/production/environment.yaml", "evidence.tests.total > 0", "render.privilged == []")
    assert run(["check", str(example), "--json"]) == 1
    found = [(f["code"], f["path"].partition(":")[0], f["fix"]) for f in json.loads(capsys.readouterr().out)["findings"]]
    assert ("SP544", "delivery/environments/production/environment.yaml", "did you mean `privileged`?") in found
    assert ("SP629", "delivery/apps/hello/deployment.yaml", "write `allowPrivilegeEscalation: false`") in found
    assert {code for code, _path, _fix in found} == {"SP544", "SP629"}


def test_check_goes_on_after_a_file_that_cannot_be_parsed(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken setpoint.yaml does not hide a broken environment."""
    edit(example / "delivery/setpoint.yaml", "owners:", "ownerz:")
    edit(example / "delivery/environments/staging/environment.yaml", "kind: Environment", "kind: Enviroment")
    assert run(["check", str(example / "delivery")]) == 1
    shown = capsys.readouterr().err
    assert "did you mean `owners`?" in shown
    assert "did you mean `Environment`?" in shown


def test_check_says_when_evidence_will_not_count(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that does not see all that is in the image is noted before a gate refuses it."""
    edit(example / "app/.setpoint/pipeline.yaml", "needs: [assets] ", "needs: [] ")
    edit(example / "app/.setpoint/pipeline.yaml", "needs: [test]", "needs: [assets, test]")
    assert run(["check", str(example / "app")]) == 0
    assert "`test` does not count as evidence for `web`: assets: is in it" in capsys.readouterr().err


def test_check_of_nothing_says_what_to_write(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder is a usage error with the next command."""
    assert run(["check"]) == 2
    assert "setpoint init" in capsys.readouterr().err
    assert run(["check", "nowhere"]) == 2


@pytest.mark.sandbox
def test_run_builds_tests_and_reuses(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first run passes and assembles an image, the second reuses everything and gives the same digest; a changed file runs again."""
    assert run(["run", str(example / "app"), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert [task["state"] for task in first["tasks"]] == ["passed", "passed"]
    assert first["builder"] == "https://setpoint.dev/builders/local/v1"
    assert run(["run", str(example / "app"), "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert [task["state"] for task in second["tasks"]] == ["reused", "reused"]
    assert second["artifacts"] == first["artifacts"]
    edit(example / "app/src/hello/__init__.py", '"hello"', '"hello, louder"')
    assert run(["run", str(example / "app"), "--json"]) == 0
    third = json.loads(capsys.readouterr().out)
    assert [task["state"] for task in third["tasks"]] == ["reused", "passed"]
    assert third["artifacts"] != first["artifacts"]


@pytest.mark.sandbox
def test_run_takes_new_files_and_no_ignored_ones(
    example: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not committed yet is an input, what is ignored is not; a single task may be named from inside the folder."""
    monkeypatch.chdir(example / "app")
    Path("assets/new.txt").write_text("new\n")
    Path("assets/__pycache__").mkdir()
    Path("assets/__pycache__/x.pyc").write_text("old\n")
    edit(Path(".setpoint/pipeline.yaml"), "python3 assets/build.py", "find assets -type f | sort; python3 assets/build.py; exit 3")
    assert run(["run", "assets"]) == 1
    shown = capsys.readouterr()
    assert "assets/new.txt" in shown.err
    assert "x.pyc" not in shown.err
    assert "exit status 3" in shown.err
    assert "not green: assets" in shown.out
    assert run(["run", "asets"]) == 2
    assert "did you mean `assets`?" in capsys.readouterr().err


def test_run_needs_a_pipeline(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without one it says how to get one."""
    assert run(["run"]) == 2
    assert "setpoint init writes one" in capsys.readouterr().err


def test_doctor_looks_at_everything(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line has a name and what was found; what is no problem has no fix."""
    code = run(["doctor", "--listen", "127.0.0.1:0", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert code == (0 if answer["ok"] else 1)
    names = {check["name"] for check in answer["checks"]}
    assert {
        "git",
        "bubblewrap",
        "haproxy",
        "kubectl",
        "python",
        "toolchain",
        "pip",
        "disk",
        "home",
        "server",
        "listen",
        "cgroups",
        "gpgv",
        "prlimit",
    } <= names
    assert all(check["found"] and (check["ok"] or check["fix"]) for check in answer["checks"])


def test_doctor_asks_for_helm_when_an_application_is_a_chart(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home without charts does not want Helm; one with a chart does, and says how to get it."""
    programs = place / "bin"
    programs.mkdir()
    for name in ("git", "bwrap"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(programs))

    def looked() -> dict[str, Any]:
        run(["doctor", "--listen", "127.0.0.1:0", "--json"])
        return {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}

    assert "helm" not in looked()
    repositories = Home(Path(os.environ["SETPOINT_HOME"])).repositories
    store = GitRepositories(repositories)
    store.create("delivery")
    tree = store.write_tree("delivery", None, {"apps/web/Chart.yaml": b"name: web\n"})
    path = str(store.path("delivery"))
    commit = git(Path(path), "commit-tree", tree, "-m", "a chart")
    assert "helm" not in looked()
    assert store.advance("delivery", "main", None, commit)
    asked = looked()["helm"]
    assert (asked["ok"], asked["essential"]) == (False, True)
    assert "Helm 3.14" in asked["fix"]


def test_doctor_names_a_taken_address(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An address that somebody else has is a problem, and the exit code is 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert run(["doctor", "--listen", f"127.0.0.1:{taken.getsockname()[1]}"]) == 1
    assert "listen" in capsys.readouterr().err


def test_up_names_the_missing_package(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bubblewrap nothing is started: the error names the package, and the exit code is 2."""
    missing = doctor.Check("bubblewrap", ok=False, found="not installed", fix="install bubblewrap (apt-get install bubblewrap)")
    monkeypatch.setattr(doctor, "essentials", lambda: [missing])
    assert run(["up"]) == 2
    shown = capsys.readouterr().err
    assert "SP814" in shown
    assert "apt-get install bubblewrap" in shown


def test_up_detached_shows_why_the_server_ended(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that cannot start is no silence: the end of its log is printed."""
    assert run(["up", "-d", "--listen", "nonsense"]) == 2
    shown = capsys.readouterr().err
    assert "SP815" in shown
    assert "`nonsense` is no host:port" in shown


def test_down_of_a_home_where_nothing_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopping nothing is fine."""
    assert run(["down"]) == 0
    assert "nothing runs in" in capsys.readouterr().out
    assert run(["down", "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (answer["server"], answer["replicas"], answer["proxies"]) == (False, 0, 0)
