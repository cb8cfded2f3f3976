"""The host's subset of Kubernetes: what is accepted and what it means, and that everything else is a clear error."""

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from setpoint.core.errors import ConfigError, Finding
from setpoint.reconcile import manifests
from setpoint.reconcile.model import Container, EmptyDir, ImageMount, PreStop, Probe, Resources, SealedSecret, SecretKey
from setpoint.reconcile.revision import revision_hash
from setpoint.reconcile.subset import KINDS, to_host

MANIFESTS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}, annotations: {note: "a b"}}
spec:
  replicas: 4
  revisionHistoryLimit: 3
  progressDeadlineSeconds: 60
  minReadySeconds: 5
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 50%, maxUnavailable: 1}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, tier: front}, annotations: {note: "a b"}}
    spec:
      terminationGracePeriodSeconds: 10
      securityContext: {runAsNonRoot: true, runAsUser: 1000}
      restartPolicy: Always
      containers:
        - name: web
          image: hello/web@sha256:aa
          imagePullPolicy: IfNotPresent
          command: [python3]
          args: [-m, hello, --port, $(PORT)]
          workingDir: /app
          ports: [{name: http, containerPort: 8080, protocol: TCP}]
          envFrom:
            - {configMapRef: {name: settings, optional: false}, prefix: X_}
            - {secretRef: {name: login, optional: true}, prefix: S_}
            - {secretRef: {name: gone, optional: true}}
          env:
            - {name: PORT, value: "8080"}
            - {name: X_a, value: over}
            - {name: MODE, valueFrom: {configMapKeyRef: {name: settings, key: mode}}}
            - {name: GONE, valueFrom: {configMapKeyRef: {name: settings, key: nope, optional: true}}}
            - {name: TOKEN, valueFrom: {secretKeyRef: {name: login, key: TOKEN}}}
            - {name: LOST, valueFrom: {secretKeyRef: {name: nope, key: x, optional: true}}}
            - {name: WHO, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}}
            - {name: WHERE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
            - {name: TIER, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier']"}}}
          resources: {limits: {memory: 64Mi, cpu: 500m}, requests: {memory: 32Mi, cpu: 0.1}}
          securityContext:
            {runAsNonRoot: true, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          lifecycle: {preStop: {sleep: {seconds: 3}}}
          readinessProbe: {httpGet: {path: /health, port: http, httpHeaders: [{name: Host, value: shop}]}, periodSeconds: 2,
            timeoutSeconds: 3, failureThreshold: 4, successThreshold: 2}
          livenessProbe: {httpGet: {path: /live, port: 8080, scheme: HTTP}, initialDelaySeconds: 5, terminationGracePeriodSeconds: 9}
          startupProbe: {tcpSocket: {port: http}, failureThreshold: 30}
          volumeMounts:
            - {name: files, mountPath: /etc/app, readOnly: true}
            - {name: picked, mountPath: /app/one.txt, subPath: sub/one.txt}
            - {name: model, mountPath: /models, subPath: model.bin}
            - {name: cache, mountPath: /cache}
            - {name: login, mountPath: /run/login}
            - {name: login, mountPath: /app/token, subPath: token}
      volumes:
        - {name: model, image: {reference: "hello/model@sha256:bb", pullPolicy: IfNotPresent}}
        - {name: files, configMap: {name: settings, optional: false}}
        - {name: picked, configMap: {name: settings, items: [{key: mode, path: sub/one.txt, mode: 0440}]}}
        - {name: cache, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
        - {name: login, secret: {secretName: login, optional: false, defaultMode: 0400, items: [{key: TOKEN, path: token}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  backoffLimit: 2
  activeDeadlineSeconds: 60
  ttlSecondsAfterFinished: 3600
  completions: 1
  parallelism: 1
  suspend: false
  template:
    metadata: {labels: {app: migrate}}
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 7
      containers:
        - name: migrate
          image: hello/web@sha256:aa
          command: [python3, -m, hello.migrate]
          envFrom: [{secretRef: {name: login}}]
          resources: {limits: {memory: 64Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec:
  type: ClusterIP
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
immutable: true
data: {a: "1", mode: fast}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
type: Opaque
immutable: false
stringData: {TOKEN: "ENC[AES256_GCM,data:b]", NOTHING: ""}
data: {KEY: "ENC[AES256_GCM,data:a]"}
sops: {age: [{recipient: age1x, enc: sealed}], mac: "ENC[AES256_GCM,data:m]", lastmodified: "2026-11-24T00:00:00Z", version: 3.11.0}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: site}
spec:
  hostnames: [shop.example.com]
  rules:
    - name: api
      matches: [{path: {type: PathPrefix, value: /api/}}, {path: {type: Exact, value: /x}}]
      backendRefs: [{name: front, port: 80, weight: 3}]
    - backendRefs: [{kind: Service, name: front, port: 80}]
"""


def objects() -> list[dict[str, Any]]:
    """Return the example's objects."""
    return [manifest.value for manifest in manifests.load(MANIFESTS.encode(), "example.yaml")]


def changed(path: str, value: Any) -> list[dict[str, Any]]:
    """Return the example with one field set, or removed when value is ...; the path begins with the kind."""
    found = copy.deepcopy(objects())
    kind, *keys = path.split(".")
    node: Any = next(item for item in found if item["kind"] == kind)
    for key in keys[:-1]:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    last: Any = int(keys[-1]) if isinstance(node, list) else keys[-1]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return found


def findings(values: list[dict[str, Any]]) -> list[Finding]:
    """Return what the host does not take."""
    with pytest.raises(ConfigError) as caught:
        to_host(values, "shop", "prod", {"Deployment/web": "apps/shop/web.yaml:2"})
    return list(caught.value.findings)


def test_the_whole_subset_means_what_kubernetes_means() -> None:
    """Every documented field arrives in the desired state, with Kubernetes' defaults and precedence."""
    desired = to_host(objects(), "shop", "prod")
    (workload,) = desired.workloads
    assert (workload.app, workload.environment, workload.name, workload.replicas) == ("shop", "prod", "web", 4)
    assert (workload.max_surge, workload.max_unavailable, workload.grace_s, workload.progress_deadline_s) == (2, 1, 10.0, 60.0)
    assert workload.labels == {"app": "web", "tier": "front"}
    container = workload.container
    assert (container.image, container.command, container.args) == (
        "hello/web@sha256:aa",
        ("python3",),
        ("-m", "hello", "--port", "$(PORT)"),
    )
    assert container.environment == {
        "X_a": "over",
        "X_mode": "fast",
        "MODE": "fast",
        "WHO": "$(SETPOINT_REPLICA)",
        "WHERE": "prod",
        "TIER": "front",
    }
    assert container.files == {"/etc/app/a": "1", "/etc/app/mode": "fast", "/app/one.txt": "fast"}
    assert container.mounts == (ImageMount("/models", "hello/model@sha256:bb", "model.bin"),)
    assert container.modes == {"/app/one.txt": 0o440, "/run/login/token": 0o400, "/app/token": 0o400}
    assert container.secret_environment == {
        "S_TOKEN": SecretKey("login", "TOKEN"),
        "S_NOTHING": SecretKey("login", "NOTHING"),
        "S_KEY": SecretKey("login", "KEY"),
        "TOKEN": SecretKey("login", "TOKEN"),
    }
    assert container.secret_files == {"/run/login/token": SecretKey("login", "TOKEN"), "/app/token": SecretKey("login", "TOKEN")}
    sealed = {"data:KEY": "ENC[AES256_GCM,data:a]", "stringData:NOTHING": "", "stringData:TOKEN": "ENC[AES256_GCM,data:b]"}
    assert container.sealed == (SealedSecret("login", ("sealed",), sealed),)
    assert container.scratch == (EmptyDir("cache", "/cache", in_memory=True, size_bytes=1 << 20),)
    assert container.resources == Resources(64 << 20, 500)
    assert container.pre_stop == PreStop(3.0)
    assert (container.port, container.workdir) == (8080, "/app")
    assert container.readiness == Probe("/health", 2.0, 3.0, 4, 0.0, 2, (("Host", "shop"),))
    assert container.liveness == Probe("/live", 10.0, 1.0, 3, 5.0, grace_s=9.0)
    assert container.startup == Probe("", failure_threshold=30)
    assert workload.min_ready_s == 5.0
    assert [(route.path_prefix, route.path_exact, route.backends) for route in desired.routes] == [
        ("/api", False, (("web", 3),)),
        ("/x", True, (("web", 3),)),
        ("/", False, (("web", 1),)),
    ]
    assert desired.routes[0].hostnames == ("shop.example.com",)
    assert desired.digest.startswith("sha256:")


def test_a_job_is_a_program_with_an_end() -> None:
    """Its limits and its template arrive; its revision hash is its own."""
    (job,) = to_host(objects(), "shop", "prod").jobs
    assert (job.app, job.environment, job.name) == ("shop", "prod", "migrate")
    assert (job.retries, job.deadline_s, job.ttl_s, job.grace_s) == (2, 60.0, 3600.0, 7.0)
    assert (job.container.command, job.container.port) == (("python3", "-m", "hello.migrate"), 0)
    assert set(job.container.secret_environment) == {"TOKEN", "NOTHING", "KEY"}
    assert job.container.resources == Resources(64 << 20)
    (plain,) = to_host(changed("Job.spec", {"template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}}), "shop", "prod").jobs
    assert (plain.retries, plain.deadline_s, plain.ttl_s) == (6, None, None)


def test_a_deployment_without_service_or_route_simply_runs() -> None:
    """Workers need no traffic."""
    desired = to_host([item for item in objects() if item["kind"] in {"Deployment", "ConfigMap", "Secret"}], "shop", "prod")
    assert (len(desired.workloads), desired.routes) == (1, ())


@pytest.mark.parametrize(
    ("replicas", "rolling", "expected"),
    [
        (1, {}, (1, 0)),
        (4, {}, (1, 1)),
        (5, {}, (2, 1)),
        (3, {"maxSurge": 0, "maxUnavailable": "10%"}, (0, 1)),
        (3, {"maxSurge": "0%", "maxUnavailable": 2}, (0, 2)),
        (10, {"maxSurge": "100%", "maxUnavailable": 0}, (10, 0)),
    ],
)
def test_surge_and_unavailability_resolve_as_in_kubernetes(replicas: int, rolling: dict[str, Any], expected: tuple[int, int]) -> None:
    """Surge rounds up, unavailability down, and one of them is always at least one."""
    values = changed("Deployment.spec.strategy.rollingUpdate", rolling)
    values[0]["spec"]["replicas"] = replicas
    (workload,) = to_host(values, "shop", "prod").workloads
    assert (workload.max_surge, workload.max_unavailable) == expected


C = "Deployment.spec.template.spec.containers.0."
P = "Deployment.spec.template.spec."


@pytest.mark.parametrize(
    ("path", "value", "code", "field"),
    [
        (C + "resources", {"limits": {"nvidia.com/gpu": "1"}}, "SP622", "containers[0].resources.limits.nvidia.com/gpu"),
        (C + "resources", {"limits": {"memory": "1x"}}, "SP623", "resources.limits.memory"),
        (C + "resources", {"limits": {"memory": "1Mi"}}, "SP623", "resources.limits.memory"),
        (C + "resources", {"limits": {"cpu": "-1"}}, "SP623", "resources.limits.cpu"),
        (C + "resources", {"limits": {"cpu": "1"}, "requests": {"cpu": 2}}, "SP623", "resources.requests.cpu"),
        (C + "resources.claims", [{"name": "x"}], "SP622", "resources.claims"),
        (C + "securityContext", {"runAsUser": 0}, "SP622", "securityContext.runAsUser"),
        (C + "securityContext", {"privileged": True}, "SP622", "securityContext.privileged"),
        (C + "securityContext", {"readOnlyRootFilesystem": False}, "SP622", "securityContext.readOnlyRootFilesystem"),
        (C + "securityContext", {"seccompProfile": {"type": "RuntimeDefault"}}, "SP622", "securityContext.seccompProfile"),
        (C + "securityContext", {"capabilities": {"add": ["NET_ADMIN"]}}, "SP622", "capabilities.add"),
        (P + "securityContext", {"fsGroup": 1}, "SP622", "spec.securityContext.fsGroup"),
        (C + "lifecycle", {"postStart": {"sleep": {"seconds": 1}}}, "SP622", "lifecycle.postStart"),
        (C + "lifecycle", {"preStop": {"exec": {"command": ["x"]}}}, "SP622", "lifecycle.preStop.exec"),
        (C + "lifecycle", {"preStop": {}}, "SP624", "lifecycle.preStop.sleep"),
        (C + "args.3", "$(TOKEN)", "SP623", "args[3]"),
        (C + "env.0", {"name": "COPY", "value": "x$(TOKEN)"}, "SP623", "env[COPY]"),
        (C + "commmand", ["x"], "SP622", "commmand"),
        (C + "imagePullPolicy", "Never", "SP622", "imagePullPolicy"),
        (C + "command", "python3", "SP623", "command"),
        (C + "command", ["a", 1], "SP623", "command[1]"),
        (C + "command", ["a\0b"], "SP623", "command[0]"),
        (C + "image", ..., "SP624", "image"),
        (C + "ports", ..., "SP624", "ports"),
        (C + "ports", [{"containerPort": 1}, {"containerPort": 2}], "SP622", "ports"),
        (C + "ports.0.hostPort", 80, "SP622", "hostPort"),
        (C + "ports.0.containerPort", 70000, "SP623", "containerPort"),
        (C + "ports.0.containerPort", True, "SP623", "containerPort"),
        (C + "workingDir", "app", "SP623", "workingDir"),
        (C + "env.0.value", "9", "SP623", "env"),
        (C + "env.0.value", 8080, "SP623", "env[0].value"),
        (C + "env.1.name", "a=b", "SP623", "env"),
        (C + "env.2.valueFrom.configMapKeyRef.key", "nope", "SP625", "configMapKeyRef.key"),
        (C + "env.2.valueFrom.configMapKeyRef.name", "nope", "SP625", "configMapKeyRef.name"),
        (C + "env.2.valueFrom", {"secretKeyRef": {"name": "s", "key": "k"}}, "SP625", "valueFrom.secretKeyRef.name"),
        (C + "env.2.valueFrom", {"secretKeyRef": {"name": "login", "key": "k"}}, "SP625", "valueFrom.secretKeyRef.key"),
        (C + "env.2.valueFrom", {"fieldRef": {"fieldPath": "status.podIP"}}, "SP622", "fieldRef.fieldPath"),
        (C + "env.2.valueFrom", {"resourceFieldRef": {"resource": "limits.cpu"}}, "SP622", "resourceFieldRef"),
        (C + "envFrom.0.configMapRef.name", "nope", "SP625", "configMapRef.name"),
        (C + "envFrom.0", {"secretRef": {"name": "s"}}, "SP625", "envFrom[0].secretRef.name"),
        (C + "readinessProbe", {"exec": {"command": ["true"]}}, "SP622", "readinessProbe.exec"),
        (C + "readinessProbe.httpGet.port", 9090, "SP623", "httpGet.port"),
        (C + "readinessProbe.httpGet.port", ..., "SP624", "httpGet.port"),
        (C + "readinessProbe.httpGet.path", "a b", "SP623", "httpGet.path"),
        (C + "readinessProbe.httpGet.httpHeaders", [{"name": "a:", "value": "b"}], "SP623", "httpHeaders[0].name"),
        (C + "readinessProbe.httpGet.httpHeaders", [{"name": "a", "value": "b\n"}], "SP623", "httpHeaders[0].value"),
        (C + "readinessProbe.terminationGracePeriodSeconds", 3, "SP623", "terminationGracePeriodSeconds"),
        (C + "readinessProbe.periodSeconds", 0, "SP623", "periodSeconds"),
        (C + "startupProbe", {"httpGet": {"port": 81}}, "SP623", "startupProbe.httpGet.port"),
        (C + "startupProbe", {"grpc": {"port": 8080}}, "SP622", "startupProbe.grpc"),
        (C + "startupProbe", {"tcpSocket": {"port": 8080}, "httpGet": {"port": 8080}}, "SP623", "startupProbe.tcpSocket"),
        (C + "startupProbe", {"tcpSocket": {"port": 8080, "host": "x"}}, "SP622", "startupProbe.tcpSocket.host"),
        (C + "livenessProbe.successThreshold", 2, "SP623", "livenessProbe.successThreshold"),
        ("Deployment.spec.minReadySeconds", 60, "SP623", "minReadySeconds"),
        (C + "volumeMounts.0.mountPath", "/usr/share/x", "SP623", "mountPath"),
        (C + "volumeMounts.0.mountPath", "/a/../etc", "SP623", "mountPath"),
        (C + "volumeMounts.0.mountPath", "/", "SP623", "mountPath"),
        (C + "volumeMounts.0.name", "nope", "SP625", "volumeMounts[0].name"),
        (C + "volumeMounts.1.subPath", "nope", "SP625", "subPath"),
        (C + "volumeMounts.2.subPath", "../x", "SP623", "volumeMounts[2].subPath"),
        (C + "volumeMounts.2.mountPath", "/etc/app", "SP623", "mount `/etc/app/a` into `/etc/app`"),
        (C + "volumeMounts.2.mountPath", "/app/one.txt/x", "SP623", "mount `/app/one.txt` into `/app/one.txt/x`"),
        (C + "volumeMounts.1", {"name": "model", "mountPath": "/models/x"}, "SP623", "mount `/models/x` into `/models`"),
        (P + "volumes.0.image.reference", ..., "SP624", "volumes[0].image.reference"),
        (P + "volumes.0.image.pullPolicy", "Never", "SP622", "volumes[0].image.pullPolicy"),
        (P + "volumes.1", {"name": "files", "emptyDir": {"medium": "HugePages"}}, "SP622", "volumes[1].emptyDir.medium"),
        (P + "volumes.1", {"name": "files", "emptyDir": {"sizeLimit": "1Gi"}}, "SP622", "volumes[1].emptyDir.sizeLimit"),
        (P + "volumes.1", {"name": "files", "hostPath": {"path": "/etc"}}, "SP622", "volumes[1].hostPath"),
        (P + "volumes.1.configMap.defaultMode", 0o040, "SP623", "configMap.defaultMode"),
        (P + "volumes.4.secret.secretName", "nope", "SP625", "secret.secretName"),
        (P + "volumes.4.secret.items", [{"key": "nope", "path": "x"}], "SP625", "items[0].key"),
        (P + "volumes.3.emptyDir.sizeLimit", "1", "SP623", "emptyDir.sizeLimit"),
        (C + "volumeMounts.3.readOnly", True, "SP622", "readOnly"),
        (C + "volumeMounts.3.subPath", "x", "SP622", "subPath"),
        (C + "volumeMounts.1", {"name": "cache", "mountPath": "/second"}, "SP622", "volumeMounts"),
        (P + "volumes.1.configMap.name", "nope", "SP625", "configMap.name"),
        (P + "volumes.2.configMap.items.0.path", "../x", "SP623", "items[0].path"),
        (P + "volumes.2.configMap.items.0.key", "nope", "SP625", "items[0].key"),
        (P + "containers", [], "SP622", "containers"),
        (P + "initContainers", [{"name": "x"}], "SP622", "initContainers"),
        (P + "hostNetwork", True, "SP622", "hostNetwork"),
        (P + "terminationGracePeriodSeconds", -1, "SP623", "terminationGracePeriodSeconds"),
        ("Deployment.spec.replicas", 1000, "SP623", "spec.replicas"),
        ("Deployment.spec.replicas", "two", "SP623", "spec.replicas"),
        ("Deployment.spec.strategy", {"type": "Recreate"}, "SP622", "strategy.type"),
        ("Deployment.spec.strategy.rollingUpdate", {"maxSurge": 0, "maxUnavailable": 0}, "SP623", "maxUnavailable"),
        ("Deployment.spec.strategy.rollingUpdate", {"maxSurge": ["x"], "maxUnavailable": "200%"}, "SP623", "maxSurge"),
        ("Deployment.spec.selector.matchLabels", {"app": "other"}, "SP623", "matchLabels"),
        ("Deployment.spec.selector", {"matchExpressions": []}, "SP622", "matchExpressions"),
        ("Deployment.spec", "x", "SP623", "`spec`"),
        ("Deployment.metadata.finalizers", ["x"], "SP622", "metadata.finalizers"),
        ("Deployment.apiVersion", "apps/v1beta1", "SP622", "apiVersion"),
        ("Service.spec.selector", {"app": "nope"}, "SP625", "selector"),
        ("Service.spec.type", "LoadBalancer", "SP622", "spec.type"),
        ("Service.spec.ports.0.targetPort", 9090, "SP625", "targetPort"),
        ("Service.spec.ports.0.targetPort", ..., "SP625", "targetPort"),
        ("Service.spec.ports", [], "SP623", "ports"),
        ("HTTPRoute.spec.parentRefs", [{"name": "gw"}], "SP622", "parentRefs"),
        ("HTTPRoute.spec.hostnames", ["a b\nfoo"], "SP623", "hostnames[0]"),
        ("HTTPRoute.spec.rules", [], "SP623", "rules"),
        ("HTTPRoute.spec.rules.0.filters", [{"type": "URLRewrite"}], "SP622", "filters"),
        ("HTTPRoute.spec.rules.0.matches.0.headers", [{"name": "a"}], "SP622", "headers"),
        ("HTTPRoute.spec.rules.0.matches.0.path.type", "RegularExpression", "SP622", "path.type"),
        ("HTTPRoute.spec.rules.0.matches.0.path.value", "/a b", "SP623", "path.value"),
        ("HTTPRoute.spec.rules.0.matches.0.path.value", "/a/../b", "SP623", "path.value"),
        ("HTTPRoute.spec.rules.1.matches", [{"path": {"value": "/api"}}], "SP626", "spec.rules"),
        ("HTTPRoute.spec.rules.0.backendRefs.0.name", "nope", "SP625", "backendRefs[0].name"),
        ("HTTPRoute.spec.rules.0.backendRefs.0.port", 81, "SP625", "backendRefs[0].port"),
        ("HTTPRoute.spec.rules.0.backendRefs.0.weight", -1, "SP623", "weight"),
        ("HTTPRoute.spec.rules.0.backendRefs.0.weight", 0, "SP623", "backendRefs"),
        ("HTTPRoute.spec.rules.0.backendRefs", [], "SP623", "backendRefs"),
        ("Secret.data.more", "aGVsbG8=", "SP671", "data"),
        ("Secret.stringData.TOKEN", "hello", "SP671", "stringData"),
        ("Secret.sops", ..., "SP671", "sops"),
        ("Secret.sops.age", [], "SP671", "sops"),
        ("Secret.type", "kubernetes.io/tls", "SP622", "type"),
        ("Secret.stringData", {"../x": "ENC[AES256_GCM,data:a]"}, "SP623", "data"),
        ("ConfigMap.sops", {"mac": "x"}, "SP622", "sops"),
        ("Job.spec.completions", 3, "SP622", "spec.completions"),
        ("Job.spec.parallelism", 0, "SP622", "spec.parallelism"),
        ("Job.spec.suspend", True, "SP622", "spec.suspend"),
        ("Job.spec.completionMode", "Indexed", "SP622", "spec.completionMode"),
        ("Job.spec.podFailurePolicy", {"rules": []}, "SP622", "spec.podFailurePolicy"),
        ("Job.spec.activeDeadlineSeconds", 0, "SP623", "spec.activeDeadlineSeconds"),
        ("Job.spec.template.spec.restartPolicy", "Always", "SP622", "restartPolicy"),
        ("Job.spec.template.spec.containers.0.ports", [{"containerPort": 1}], "SP622", "containers[0].ports"),
        ("Job.spec.template.spec.containers.0.livenessProbe", {"httpGet": {"port": 1}}, "SP622", "livenessProbe"),
        ("Job.metadata.name", "web", "SP626", "metadata.name"),
        ("ConfigMap.binaryData", {"a": "aGk="}, "SP622", "binaryData"),
        ("ConfigMap.data.a", 1, "SP623", "data.a"),
        ("ConfigMap.data", {"../x": "1"}, "SP623", "data"),
    ],
)
def test_everything_else_is_a_clear_error(path: str, value: Any, code: str, field: str) -> None:
    """A field outside of the subset, a wrong value or a dangling reference names the object and the field, and never passes."""
    found = findings(changed(path, value))
    hits = [finding for finding in found if finding.code == code and field in finding.what]
    assert hits, [finding.what for finding in found]
    assert hits[0].what.startswith(path.partition(".")[0] + "/")


def test_all_findings_come_at_once_with_their_file_and_a_fix() -> None:
    """One look shows everything that the host does not take."""
    values = changed(C + "stdin", True)
    values[0]["spec"]["template"]["spec"]["containers"][0]["comand"] = ["x"]
    values[1]["spec"]["externalName"] = "x"
    values.append({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}})
    values.append({"apiVersion": "apps/v1", "kind": "Deploymnt", "metadata": {"name": "x"}})
    found = findings(values)
    assert len(found) == 5
    by_word = {
        word: next(finding for finding in found if word in finding.what) for word in ("stdin", "comand", "PodDisruptionBudget", "Deploymnt")
    }
    assert by_word["stdin"].path == "apps/shop/web.yaml:2"
    assert by_word["comand"].fix == "did you mean `command`?"
    assert by_word["Deploymnt"].fix == "did you mean `Deployment`?"
    assert "ConfigMap, Deployment, HTTPRoute, Job, Secret, Service" in by_word["PodDisruptionBudget"].fix


def test_a_service_that_selects_two_deployments_is_an_error() -> None:
    """Traffic and rollout need to know which workload is meant."""
    values = objects()
    second = copy.deepcopy(values[0])
    second["metadata"]["name"] = "web2"
    assert "selects web, web2" in findings([*values, second])[0].what


def test_nulls_are_left_out_and_kubectls_empty_fields_do_no_harm() -> None:
    """`kubectl create --dry-run -o yaml` writes creationTimestamp: null and status: {}; both mean nothing."""
    values = changed("Deployment.status", {})
    values[0]["metadata"]["creationTimestamp"] = None
    values[0]["spec"]["template"]["spec"]["containers"][0]["tty"] = None
    assert to_host(values, "shop", "prod").workloads == to_host(objects(), "shop", "prod").workloads


CONTAINER = Container("web", "r@sha256:a", ("a",), None, {"A": "1"}, {"/f": "x"}, 8080, Probe("/"), None, "/app")


@pytest.mark.parametrize(
    "change",
    [
        {"image": "r@sha256:b"},
        {"command": ("b",)},
        {"command": None},
        {"args": ()},
        {"environment": {"A": "2"}},
        {"files": {"/f": "y"}},
        {"readiness": Probe("/x")},
        {"liveness": Probe("/")},
        {"startup": Probe("")},
        {"resources": Resources(64 << 20)},
        {"pre_stop": PreStop(1.0)},
        {"scratch": (EmptyDir("a", "/a"),)},
        {"modes": {"/f": 0o400}},
        {"secret_environment": {"A": SecretKey("s", "k")}},
        {"secret_files": {"/k": SecretKey("s", "k")}},
        {"sealed": (SealedSecret("s", ("x",), {"data:k": "ENC[1]"}),)},
        {"readiness": Probe("/h", headers=(("A", "b"),))},
        {"workdir": ""},
        {"mounts": (ImageMount("/m", "m@sha256:a"),)},
    ],
)
def test_the_revision_hash_changes_with_what_makes_a_replica_different(change: dict[str, Any]) -> None:
    """Each of these rolls, and so does the grace."""
    assert revision_hash(dataclasses.replace(CONTAINER, **change), 30) != revision_hash(CONTAINER, 30)
    assert revision_hash(CONTAINER, 31) != revision_hash(CONTAINER, 30)


def test_the_revision_hash_ignores_everything_else() -> None:
    """Replicas, labels, rollout settings, ports and routes roll nothing, and an integer grace equals its float."""
    assert revision_hash(dataclasses.replace(CONTAINER, port=1, name="x"), 30) == revision_hash(CONTAINER, 30.0)
    before = to_host(objects(), "shop", "prod").workloads[0].revision_hash
    for path, value in (
        ("Deployment.spec.replicas", 1),
        ("Deployment.spec.template.metadata.labels.other", "x"),
        ("Service.spec.ports.0.port", 80),
    ):
        assert to_host(changed(path, value), "shop", "prod").workloads[0].revision_hash == before
    assert to_host(changed("ConfigMap.data.mode", "slow"), "shop", "prod").workloads[0].revision_hash != before


def test_the_documentation_lists_every_field_of_the_example() -> None:
    """docs/host-subset.md names every field that is accepted here, and every kind."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "host-subset.md").read_text(encoding="utf-8")
    words: set[str] = set(KINDS)

    def collect(value: Any, *, free: bool = False) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                words.update(() if free else (key,))
                if key == "sops":
                    continue
                collect(
                    item,
                    free=key in {"labels", "matchLabels", "annotations", "data", "stringData", "selector", "sops", "limits"}
                    and "matchLabels" not in item,
                )
        elif isinstance(value, list):
            for item in value:
                collect(item)

    for item in objects():
        collect(item)
    quoted = {word for span in re.findall(r"`([^`]+)`", page) for word in re.split(r"[^A-Za-z]+", span)}
    assert sorted(words - quoted - set(KINDS)) == []
    assert [kind for kind, (version,) in KINDS.items() if f"## {kind} (`{version}`)" not in page] == []
