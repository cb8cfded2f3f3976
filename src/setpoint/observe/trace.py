"""From anything that runs or was built back to the commit, and from a commit forward to where it serves.

Called by the API for `trace` and for a change's journey; reads records, Git and the pictures of pods only, and asks the proxy's header when
given a URL.
"""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from setpoint.artifact.model import ArtifactRecord
from setpoint.core import digest, names
from setpoint.core.errors import NotFoundError, UserError
from setpoint.core.words import counted
from setpoint.observe import pods
from setpoint.observe.model import Journey, Step, Trace
from setpoint.observe.ports import Facts
from setpoint.promotion.model import Promotion, PromotionState
from setpoint.promotion.repository import DeliveryReader
from setpoint.reconcile.model import Deployment, ReplicaStatus
from setpoint.reconcile.pods.digests import reported
from setpoint.source.ports import GitStore

_COMMIT = re.compile(r"^[0-9a-f]{7,64}$")
_ARTIFACTS = 2000
"""How many artifacts, newest first, are opened to find a digest that is of a part of one."""


class TraceView:
    """Answers `trace` and journeys."""

    def __init__(
        self,
        facts: Facts,
        git: GitStore,
        reader: DeliveryReader,
        replicas: Callable[[], list[ReplicaStatus]],
        ask: Callable[[str], dict[str, str]],
        looks: pods.PodLooks | None = None,
    ) -> None:
        self._facts = facts
        self._git = git
        self._reader = reader
        self._replicas = replicas
        self._ask = ask
        """URL -> the response headers with Setpoint's names; only asked for listen addresses of this home."""
        self._looks = looks if looks is not None else pods.NoPods()

    def trace(self, thing: str, cluster: str = "", namespace: str = "") -> Trace:
        """Return the chain behind a URL, process id, replica, pod, digest, promotion, run or commit; the rest says where a pod is.

        Raises:
            NotFoundError: nothing of this home answers to it (SP701), no pod does (SP709).
            UserError: several pods do (SP710).
        """
        if pods.is_pod(thing):
            return Trace(thing, tuple(self._from_pod(pods.find(self._looks, thing, cluster, namespace))))
        if thing.startswith(("http://", "https://")):
            return Trace(thing, tuple(self._from_url(thing)))
        if thing.isdecimal():
            return Trace(thing, tuple(self._from_replica(self._replica_of_pid(int(thing)))))
        if reported(thing):
            return Trace(thing, tuple(self._from_reported(reported(thing))))
        if thing.startswith("p-") and (promotion := self._facts.promotion(thing)) is not None:
            return Trace(thing, tuple(self._from_promotion(promotion)))
        if thing.startswith("r-") and (run := self._facts.run(thing)) is not None:
            return Trace(thing, tuple(self._from_run(run.run)))
        replica = next((r for r in self._replicas() if r.spec.replica == thing), None)
        if replica is not None:
            return Trace(thing, tuple(self._from_replica(replica)))
        if _COMMIT.match(thing):
            return Trace(thing, self.journey(thing).steps)
        fix = "give a URL of an environment, a pid or name of a replica, pod/NAME, sha256:..., a promotion, a run or a commit"
        raise NotFoundError("SP701", f"nothing here answers to `{thing}`", fix=fix)

    def _from_url(self, url: str) -> list[Step]:
        try:
            address = urlsplit(url).netloc
        except ValueError as error:
            raise NotFoundError("SP701", f"`{url[:200]}` is no URL", fix="for example http://127.0.0.1:7502/") from error
        known = [seen for seen in self._facts.deployments() if urlsplit(seen.url).netloc == address]
        if not known:
            listens = ", ".join(sorted({seen.url for seen in self._facts.deployments() if seen.url})) or "nothing serves yet"
            raise NotFoundError("SP701", f"no environment of this home listens on {address}", where=url, fix=f"known: {listens}")
        headers = self._ask(url)
        steps = [Step("url", url, f"answered by {headers.get('Setpoint-Replica', 'no replica')}", where=known[0].environment)]
        replica = next((r for r in self._replicas() if r.spec.replica == headers.get("Setpoint-Replica")), None)
        return [*steps, *(self._from_replica(replica) if replica is not None else self._from_deployment(known[0]))]

    def _replica_of_pid(self, pid: int) -> ReplicaStatus:
        for replica in self._replicas():
            if replica.pid == pid:
                return replica
        raise NotFoundError("SP701", f"no replica of this home has process id {pid}", fix="setpoint status --json lists the replicas")

    def _from_replica(self, replica: ReplicaStatus) -> list[Step]:
        spec = replica.spec
        text = f"pid {replica.pid}, {spec.workload}, started {replica.started_at}, {counted(replica.restarts, 'restart')}"
        steps = [Step("replica", spec.replica, text, replica.started_at or "", spec.identity.environment)]
        steps.append(Step("image", spec.identity.digest, spec.container.image))
        steps += [Step("mount", mount.image.rpartition("@")[2], f"{mount.image} at {mount.path}") for mount in spec.container.mounts]
        seen = self._facts.deployment(spec.identity.app, spec.identity.environment)
        if seen is not None and seen.artifacts and spec.identity.digest in seen.artifacts.values():
            return [*steps, *self._from_deployment(seen)]
        promotion = self._facts.promotion(spec.identity.promotion)
        return [*steps, *(self._from_promotion(promotion) if promotion is not None else self._from_digest(spec.identity.digest))]

    def _from_pod(self, found: pods.Traced) -> list[Step]:
        """Return a pod with its owners and images, and what made the build that it runs."""
        steps, verdict = list(found.steps()), found.verdict
        promotion = self._facts.promotion(verdict.build.promotion) if verdict is not None and verdict.build is not None else None
        if promotion is not None:
            return [*steps, *self._from_promotion(promotion)]
        for one in found.pod.containers:
            for text in dict.fromkeys((reported(one.image), reported(one.image_id))):
                built = self._built(text) if text else None
                steps += self._from_digest(built.digest) if built is not None else []
        return steps

    def _from_reported(self, wanted: str) -> list[Step]:
        """Return the chain of a digest as somebody reports it, the artifact's or one of its parts', with the pods that run it."""
        built = self._built(wanted)
        if built is not None:
            same = pods.running(self._looks, self._looks.aliases(built.oci_repository, built.digest) | {wanted})
            return [*self._from_digest(built.digest), *same]
        found = pods.running(self._looks, frozenset({wanted}))
        return found or self._from_digest(wanted)

    def _built(self, wanted: str) -> ArtifactRecord | None:
        """Return the artifact of a digest: its own, or that of its configuration or of a manifest in its index."""
        mine = self._facts.artifacts(digest=wanted)
        if mine:
            return mine[0]
        every = self._facts.artifacts()[:_ARTIFACTS]
        return next((one for one in every if wanted in self._looks.aliases(one.oci_repository, one.digest)), None)

    def _from_deployment(self, seen: Deployment) -> list[Step]:
        promotion = self._facts.promotion(seen.promotion)
        return self._from_promotion(promotion) if promotion is not None else []

    def _from_promotion(self, promotion: Promotion) -> list[Step]:
        candidate = promotion.candidate
        steps = []
        if promotion.pin_commit:
            text = f"pins {promotion.names} for {candidate.app} in {candidate.environment}"
            steps.append(Step("pin", promotion.pin_commit, text, promotion.pinned_at or "", candidate.environment))
        how = f"{promotion.kind}, {promotion.state}, asked by {promotion.requested_by}"
        steps.append(Step("promotion", promotion.promotion, how, promotion.decided_at or promotion.created_at, candidate.environment))
        origin = promotion.of or promotion.promotion
        for approval in self._facts.approvals(origin):
            steps.append(Step("approval", approval.person, f"{approval.email}: {approval.message}".rstrip(": "), approval.at))
        for artifact in candidate.artifacts.values():
            steps += self._from_digest(artifact.digest)
        if not candidate.artifacts and promotion.delivery_commit:
            steps.append(self._revision(self._delivery_name(), promotion.delivery_commit))
        return steps

    def _from_digest(self, wanted: str) -> list[Step]:
        built = self._facts.artifacts(digest=wanted)
        if not built:
            raise NotFoundError("SP701", f"{digest.short(wanted)} was not built here", where=wanted)
        newest = built[0]
        steps = [Step("artifact", newest.digest, f"{newest.oci_repository} {newest.version}", newest.built_at, newest.oci_repository)]
        for record in self._facts.evidence(subject=wanted):
            kind = names.kind(record.predicate_type)
            steps.append(Step("evidence", record.bundle, f"{kind}: {record.result} {record.summary}".rstrip(), record.at))
        return [*steps, *self._from_run(newest.run)]

    def _from_run(self, run_id: str) -> list[Step]:
        run = self._facts.run(run_id)
        if run is None:
            return []
        pushed = f", pushed by {run.pusher}" if run.pusher else ""
        text = f"{run.state}: {run.title}{pushed}"
        return [Step("run", run.run, text, run.finished_at or run.created_at, run.repository), self._revision(run.repository, run.revision)]

    def _revision(self, repository: str, commit: str) -> Step:
        revision = self._git.revision(repository, commit)
        return Step(
            "revision", commit, f"{revision.title} ({revision.author_name} <{revision.author_email}>)", revision.committed_at, repository
        )

    def _delivery_name(self) -> str:
        delivery = self._reader.load()
        return delivery.repository if delivery is not None else ""

    def journey(self, commit: str) -> Journey:
        """Return one commit's way from push to serving.

        Raises:
            NotFoundError: no repository has it (SP701). UserError: several do (SP702).
        """
        found = [(name, full) for name in self._git.names() if (full := self._git.resolve(name, commit)) is not None]
        if not found:
            raise NotFoundError("SP701", f"no repository has a commit `{commit}`", fix="setpoint runs lists the revisions")
        if len(found) > 1 and len({full for _, full in found}) > 1:
            raise UserError(
                "SP702", f"`{commit}` is a commit of several repositories", fix=f"one of: {', '.join(full for _, full in found)}"
            )
        repository, full = found[0]
        revision = self._git.revision(repository, full)
        steps = [self._revision(repository, full)]
        run = self._facts.run_for(repository, full)
        if run is not None:
            steps.append(Step("run", run.run, f"{run.state}: {run.title}", run.finished_at or run.created_at, repository))
            for artifact in self._facts.artifacts(run=run.run):
                steps.append(
                    Step("artifact", artifact.digest, f"{artifact.oci_repository} {artifact.version}", artifact.built_at, repository)
                )
            for record in self._facts.evidence(run=run.run):
                kind = names.kind(record.predicate_type)
                steps.append(Step("evidence", record.bundle, f"{kind}: {record.result} {record.summary}".rstrip(), record.at))
        steps += self._onward(full)
        return Journey(repository, full, revision.title, revision.author_email, tuple(steps))

    def _onward(self, commit: str) -> list[Step]:
        """Return the promotions that carried a commit, oldest first, and where it serves now."""
        steps = []
        carried = [p for p in self._facts.promotions(limit=1000) if commit in (p.source_revision, p.delivery_commit)]
        for promotion in reversed(carried):
            environment = promotion.candidate.environment
            at = promotion.pinned_at or promotion.decided_at or promotion.created_at
            steps.append(Step("promotion", promotion.promotion, f"{promotion.kind}: {promotion.state} in {environment}", at, environment))
            for approval in self._facts.approvals(promotion.promotion):
                steps.append(Step("approval", approval.person, approval.message, approval.at, environment))
            seen = self._facts.deployment(promotion.candidate.app, environment)
            if promotion.state is PromotionState.PINNED and seen is not None and seen.promotion == promotion.promotion:
                steps.append(Step("deployment", seen.url or environment, f"{seen.health} in {environment}", seen.since, environment))
        return steps
