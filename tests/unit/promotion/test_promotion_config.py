"""The files of a delivery repository: what they mean, and every fault at its place, in one file and across files."""

import json
from pathlib import Path

import pytest

from setpoint.core.errors import ConfigError, Finding
from setpoint.promotion.checks.written import HttpCheck
from setpoint.promotion.config import EVERY_EXCLUSION, parse_environment, parse_setpoint
from setpoint.promotion.delivery import validate_delivery
from setpoint.reconcile.schemas import schemas

API = "apiVersion: setpoint.dev/v1alpha1\n"
SETPOINT = (
    API
    + """kind: Setpoint
apps:
  hello: {source: hello}
people:
  dev: {emails: [dev@example.com, Dev.Two@example.com]}
  ops: {emails: [ops@example.com]}
  bot: {emails: [bot@example.com], kind: machine}
teams:
  dev: [dev]
  sre: [ops, bot]
owners: [team:sre]
"""
)
PRODUCTION = (
    API
    + """kind: Environment
target: {host: {listen: "127.0.0.1:7502"}}
after: [staging]
owners: [team:sre]
gates:
  policy: evidence.tests.failed == 0 && evidence.tests.total > 0
  checks: [{http: {path: /health}}]
  soak: 30m
  approvals: {required: 1, from: [team:sre, person:dev], not: [authors]}
"""
)
STAGING = API + 'kind: Environment\ntarget: {host: {listen: "127.0.0.1:7501"}}\n'
IMAGE = "registry.example/redis@sha256:" + "0" * 64


def environment_findings(text: str) -> tuple[Finding, ...]:
    """Return what is wrong with an environment file."""
    with pytest.raises(ConfigError) as caught:
        parse_environment((API + "kind: Environment\n" + text).encode(), "environments/p/environment.yaml")
    return caught.value.findings


def delivery(setpoint: str = SETPOINT, apps: tuple[str, ...] = ("hello",), **environments: str) -> list[Finding]:
    """Return what is wrong across files."""
    documents = {name: parse_environment(text.encode(), f"environments/{name}/environment.yaml") for name, text in environments.items()}

    def compile_error(expression: str) -> str:
        return "1:10: undeclared reference" if "nope" in expression else ""

    return validate_delivery(parse_setpoint(setpoint.encode()), documents, set(apps), compile_error)


def test_the_files_of_the_design_page_are_sound() -> None:
    """The examples of design.md parse and agree with each other."""
    assert delivery(staging=STAGING, production=PRODUCTION) == []
    gates = parse_environment(PRODUCTION.encode(), "e").model.gates
    assert (gates.soak, gates.checks[0].http) == (1800, HttpCheck(path="/health", status=200))
    assert gates.approvals is not None
    assert (gates.approvals.required, gates.approvals.approvers, gates.approvals.excluded) == (1, ("team:sre", "person:dev"), ("authors",))


def test_exclusions_left_out_are_all_four() -> None:
    """`not` left out excludes everybody it can; an empty list excludes nobody."""
    for text, wanted in (("", EVERY_EXCLUSION), (", not: []", ())):
        model = parse_environment(f"{STAGING}gates: {{approvals: {{required: 1, from: [team:sre]{text}}}}}\n".encode(), "e").model
        assert model.gates.approvals is not None
        assert model.gates.approvals.excluded == wanted


def test_the_directory_knows_people_by_any_email() -> None:
    """People and teams become the directory that identity reads."""
    directory = parse_setpoint(SETPOINT.encode()).model.directory()
    person = directory.person("dev.two@EXAMPLE.com")
    assert person is not None
    assert person.name == "dev"
    assert directory.members(("team:sre", "person:dev")) == {"ops", "bot", "dev"}


@pytest.mark.parametrize(
    ("text", "code", "line", "word"),
    [
        ("target: {host: {listen: 127.0.0.1}}\n", "SP523", 3, "IPv4"),
        ("target: {host: {listen: 'localhost:7501'}}\n", "SP523", 3, "IPv4"),
        ("target: {host: {listen: '127.0.0.1:0'}}\n", "SP523", 3, "port"),
        ("target: {host: {listen: '127.0.0.1:70000'}}\n", "SP523", 3, "port"),
        ("target: {host: {listen: '224.0.0.1:80'}}\n", "SP523", 3, "listen"),
        ("target: {kubernetes: {}}\n", "SP014", 3, "cluster"),
        ("target: {}\n", "SP553", 3, "host"),
        ("rollout: {canary: {}}\ntarget: {host: {listen: '127.0.0.1:1'}}\n", "SP014", 3, "weights"),
        ("rollout: {canary: {weights: [5, 5], hold: 1m}}\ntarget: {host: {listen: '127.0.0.1:1'}}\n", "SP548", 3, "rise"),
        ("target: {host: {listen: '127.0.0.1:1'}}\ngates: {soak: 5m}\n", "SP529", 4, "after"),
        ("target: {host: {listen: '127.0.0.1:1'}}\ngates: {checks: [{http: {path: /}}]}\n", "SP529", 4, "after"),
        ("target: {host: {listen: '127.0.0.1:1'}}\nafter: [a, a]\n", "SP530", 4, "twice"),
        ("target: {host: {listen: '127.0.0.1:1'}}\ngates: {pods: restrictd}\n", "SP543", 4, "did you mean `restricted`"),
        ("target: {host: {listen: '127.0.0.1:1'}}\ngates: {pods: 'restricted:v1.24'}\n", "SP543", 4, "v1.25 to v1.35"),
        ("target: {host: {listen: '127.0.0.1:1'}}\ngates: {pods: 'baseline:1.30'}\n", "SP543", 4, "restricted:v1.34"),
        ("target: {host: {listen: '127.0.0.1:1'}}\nafter: [a]\ngates: {checks: [{}]}\n", "SP570", 5, "one request or one command"),
        (
            "target: {host: {listen: '127.0.0.1:1'}}\nafter: [a]\ngates: {checks: [{command: {run: x, timeout: 2h}}]}\n",
            "SP570",
            5,
            "too long",
        ),
        (
            "target: {host: {listen: '127.0.0.1:1'}}\nafter: [a]\ngates: {checks: [{command: {run: x, env: {SETPOINT_X: y}}}]}\n",
            "SP570",
            5,
            "own",
        ),
        ("target: {host: {listen: '127.0.0.1:1'}}\nafter: [a]\ngates: {checks: [{http: {path: health}}]}\n", "SP525", 5, "path"),
        ("target: {host: {listen: '127.0.0.1:1'}}\nowners: [sre]\n", "SP522", 4, "nobody"),
        ("target: {host: {listen: '127.0.0.1:1'}}\nimages: ['redis:7']\n", "SP524", 4, "digest"),
        ("target: {host: {listen: '127.0.0.1:1'}}\ngates: {approvals: {required: 0, from: ['team:a']}}\n", "SP015", 4, "at least 1"),
        ("target: {host: {listen: '127.0.0.1:1'}}\ngates: {approvals: {required: 1, from: []}}\n", "SP015", 4, "at least 1"),
        ("target: {host: {listen: '127.0.0.1:1'}}\ngates: {approvals: {required: 1, approvers: ['team:a']}}\n", "SP014", 4, "`from`"),
        (
            "target: {host: {listen: '127.0.0.1:1'}}\ngates: {approvals: {required: 1, from: ['team:a'], not: [author]}}\n",
            "SP015",
            4,
            "`authors`",
        ),
    ],
)
def test_unsound_environments_have_a_place(text: str, code: str, line: int, word: str) -> None:
    """What one environment file says wrong is found there, with the word that matters."""
    found = next(finding for finding in environment_findings(text) if finding.code == code)
    assert found.line == line
    assert word in found.what + found.fix


def test_outside_images_are_named_by_digest() -> None:
    """An image of somebody else moves by digest, too."""
    model = parse_environment(f"{STAGING}images: ['{IMAGE}']\n".encode(), "e").model
    assert model.images == (IMAGE,)


@pytest.mark.parametrize(
    ("old", "new", "code", "word"),
    [
        ("dev: [dev]", "dev: [dve]", "SP526", "dve"),
        ("emails: [ops@example.com]", "emails: [DEV@example.com]", "SP527", "already belongs to `dev`"),
        ("hello: {source: hello}", "hello: {artifacts: [web]}", "SP528", "no source"),
        ("emails: [ops@example.com]", "emails: [ops]", "SP521", "no email"),
        ("hello: {source: hello}", "hello: {source: ../x}", "SP520", "repository"),
        ("hello: {source: hello}", "hello: {source: hello, branch: --x}", "SP520", "branch"),
        ("kind: machine", "kind: robot", "SP015", "`human` or `machine`"),
        ("owners: [team:sre]", "owner: [team:sre]", "SP013", "owner"),
    ],
)
def test_unsound_setpoint_files_are_explained(old: str, new: str, code: str, word: str) -> None:
    """What setpoint.yaml says wrong is found with its place."""
    with pytest.raises(ConfigError) as caught:
        parse_setpoint(SETPOINT.replace(old, new).encode())
    (found,) = caught.value.findings
    assert found.code == code
    assert word in found.what
    assert found.line > 2


def test_references_across_files_are_checked_in_the_file_that_must_change() -> None:
    """Unknown environments, teams and people, folders of nobody, busy ports and bad policies are found together."""
    bad = PRODUCTION.replace("after: [staging]", "after: [stagin]").replace("team:sre", "team:srf").replace("7502", "7501")
    bad = bad.replace("evidence.tests.failed == 0", "evidence nope")
    found = delivery(apps=("hello", "other"), staging=STAGING, production=bad)
    by_code = {finding.code: finding for finding in found}
    assert sorted(by_code) == ["SP531", "SP532", "SP533", "SP535", "SP537"]
    assert by_code["SP533"].fix == "did you mean `staging`?"
    assert by_code["SP532"].path == "setpoint.yaml"
    assert by_code["SP535"].path in {"environments/production/environment.yaml", "environments/staging/environment.yaml"}
    assert (by_code["SP537"].line, by_code["SP537"].column) == (7, 20)
    assert sum(finding.code == "SP531" for finding in found) == 2


def test_environments_in_a_circle_are_named() -> None:
    """A circle of `after` is shown as a path."""
    staging = STAGING + "after: [production]\n"
    (found,) = delivery(staging=staging, production=PRODUCTION)
    assert found.code == "SP534"
    assert "staging -> production -> staging" in found.what


def test_listening_everywhere_collides_with_listening_somewhere() -> None:
    """0.0.0.0 and one address on the same port cannot both be had."""
    found = delivery(staging=STAGING, production=STAGING.replace("127.0.0.1", "0.0.0.0"))  # noqa: S104 - a text
    assert [finding.code for finding in found] == ["SP535"]


def test_approvals_that_nobody_can_give_are_found() -> None:
    """Machines do not approve, so a gate that needs more people than there are is an error."""
    bad = PRODUCTION.replace("required: 1, from: [team:sre, person:dev]", "required: 2, from: [team:sre]")
    (found,) = delivery(staging=STAGING, production=bad)
    assert found.code == "SP536"
    assert "only 1 can be given (ops; machines cannot approve)" in found.what


def test_published_schemas_equal_the_models() -> None:
    """docs/schemas is what the models accept (tools/schemas writes it)."""
    folder = Path(__file__).resolve().parents[3] / "docs" / "schemas"
    assert {path.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")} == schemas()


CLOUD = 'target: {kubernetes: {cluster: real, namespace: shop, registry: "registry.example.com/shop"}}\n'


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("{kind: Deployment, paths: ['.spec.template.spec.containers[name=web].image'], why: w}", "SP559"),
        ("{kind: Deployment, paths: [.spec.template], why: w}", "SP559"),
        ("{kind: Deployment, paths: ['.spec.template.spec.containers[*]'], why: w}", "SP559"),
        ("{kind: Deployment, paths: [/spec/template/spec/containers/web/securityContext/privileged], why: w}", "SP559"),
        ("{kind: CronJob, paths: [.spec.jobTemplate.spec.template.spec.hostNetwork], why: w}", "SP559"),
        ("{kind: Pod, paths: ['.spec.*'], why: w}", "SP559"),
        ("{paths: ['*'], why: w}", "SP559"),
        ("{kind: Service, paths: [.metadata.labels], why: w}", "SP559"),
        ("{kind: ConfigMap, paths: ['.metadata.labels[\"setpoint.dev/app\"]'], why: w}", "SP559"),
        ("{kind: Rollout.argoproj.io, paths: ['.spec.workload.template.spec.initContainers[x].image'], why: w}", "SP559"),
        ("{kind: Picture.example.com, paths: [.spec.show], why: w}", "SP559"),
        ("{kind: ConfigMap, paths: ['data key'], why: w}", "SP556"),
        ("{kind: ConfigMap, name: 'a b', paths: [.data], why: w}", "SP556"),
        ("{kind: ConfigMap, why: w}", "SP558"),
        ("{kind: Deployment, paths: [.spec.replicas]}", "SP014"),
    ],
)
def test_rules_about_what_is_judged_are_refused(rule: str, code: str) -> None:
    """Law 2: an image, what a pod may do and whose an object is are left to nobody, however the path is written, from above or below."""
    paths = "imagePaths: {Picture.example.com: ['spec.show[].it']}\n"
    (found,) = environment_findings(f"{CLOUD}{paths}drift:\n  ignore:\n    - {rule}\n")
    assert found.code == code


def test_rules_about_other_fields_are_accepted_on_a_cluster_only() -> None:
    """Resources, replicas, data and annotations may be somebody else's; on the host there is nobody else."""
    rules = [
        "{kind: Deployment, name: 'web-*', paths: ['.spec.template.spec.containers[name=web].resources', /spec/replicas], why: w}",
        "{kind: ConfigMap, paths: [.data.image], why: w}",
        "{kind: Service, paths: ['.spec.ports[port=53,protocol=UDP].nodePort', '.metadata.annotations[\"a.b/c\"]'], why: w}",
        "{managers: [vpa-*], app: shop, why: w}",
    ]
    text = "drift:\n  ignore:\n" + "".join(f"    - {rule}\n" for rule in rules)
    found = parse_environment((API + "kind: Environment\n" + CLOUD + text).encode(), "environments/p/environment.yaml")
    assert len(found.model.drift.ignore) == len(rules)
    (refused,) = environment_findings('target: {host: {listen: "127.0.0.1:7502"}}\n' + text)
    assert refused.code == "SP557"


@pytest.mark.parametrize(
    ("metrics", "code"),
    [
        ("{}", "SP553"),
        ('{service: "ingress/haproxy:8404", url: "http://a:1/metrics"}', "SP553"),
        ('{service: "haproxy:8404"}', "SP552"),
        ('{service: "ingress/haproxy:8404", path: "/../secrets"}', "SP552"),
        ('{url: "file:///etc/passwd"}', "SP552"),
        ('{url: "http://a@b:1/metrics"}', "SP552"),
    ],
)
def test_pages_of_counters_are_at_exactly_one_place(metrics: str, code: str) -> None:
    """A port of a Service with its namespace, or a page at an address; nothing that leads elsewhere."""
    (found,) = environment_findings(CLOUD.replace('shop"}}', f'shop", metrics: {metrics}}}}}'))
    assert found.code == code


def test_a_canary_on_a_cluster_says_how_it_is_judged() -> None:
    """By counters, or by nobody in so many words."""
    canary = "rollout: {canary: {weights: [5], hold: 1m%s}}\n"
    for target, more, codes in (
        (CLOUD, "", ["SP554"]),
        (CLOUD, ", unjudged: true", []),
        (CLOUD.replace('shop"}}', 'shop", metrics: {service: "ingress/haproxy:8404"}}}'), "", []),
    ):
        setpoint = parse_setpoint((API + "kind: Setpoint\napps: {}\n").encode(), "setpoint.yaml")
        text = API + "kind: Environment\n" + target + canary % more
        environment = parse_environment(text.encode(), "environments/p/environment.yaml")
        found = [one.code for one in validate_delivery(setpoint, {"p": environment}, set())]
        assert [code for code in found if code == "SP554"] == codes
