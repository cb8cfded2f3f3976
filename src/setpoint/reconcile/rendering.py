"""Renders candidates: the pinned trees, never HEAD, into objects and into the host's desired state (law 1).

Called by reconcile for pins and, through promotion's `Renderer`, before a decision; results are kept by candidate, and under it by what
was read (`reconcile.renders`), so nothing is rendered twice. It never writes anything itself.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from setpoint.core.errors import UserError
from setpoint.core.recent import Recent
from setpoint.promotion.model import Candidate, RenderFacts
from setpoint.promotion.pod_standard import PodStandard, PodVerdict
from setpoint.promotion.render_content import RenderContent
from setpoint.reconcile import sealed
from setpoint.reconcile.allowed import Allowed, refuse_outside
from setpoint.reconcile.cluster.plan import rendered_changes
from setpoint.reconcile.contents import contents
from setpoint.reconcile.host_names import readdressed
from setpoint.reconcile.images import images_of, substitute
from setpoint.reconcile.model import DesiredState, Rendered, identity
from setpoint.reconcile.plan import ObjectChange, object_changes
from setpoint.reconcile.pod_security import decide as pod_security
from setpoint.reconcile.ports import Vault
from setpoint.reconcile.render import Place
from setpoint.reconcile.renders import Renders
from setpoint.reconcile.sources.files import PinnedFiles
from setpoint.reconcile.sources.registry_charts import NO_CHART
from setpoint.reconcile.subset import elsewhere, to_host
from setpoint.source.ports import GitStore

_KEPT_OBJECTS: Final = 20_000
"""Rendered objects in memory, about 10 KB each with their desired state."""
_KEPT_LOSSES: Final = 4_000
_OF_THE_HOME: Final = (sealed.NO_KEY, sealed.BAD_KEYS, NO_CHART)
"""Errors about what the home has: its age keys, a chart that is not in its registry yet."""


class _Kept(NamedTuple):
    """A render, read for its target and summed up for policies."""

    rendered: Rendered
    desired: DesiredState
    content: RenderContent


class Rendering:
    """Renders and keeps the last results."""

    def __init__(
        self,
        git: GitStore,
        renders: Renders,
        allowed: Callable[[str, str], Allowed],
        is_file: Callable[[str, str], bool] = lambda _repository, _digest: False,
        vault: Vault | None = None,
    ) -> None:
        self._git = git
        self._renders = renders
        self._allowed = allowed
        """(application, environment) -> what it may render there, by the accepted files"""
        self._is_file = is_file
        """(OCI repository, digest) -> whether the artifact is a file or folder and no image"""
        self._vault = vault
        """Opens Secrets, to find out whether they open; without one they are taken as they are."""
        self._kept: Recent[tuple[str, str, Allowed], _Kept | UserError] = Recent(_KEPT_OBJECTS)
        self._lost: Recent[tuple[str, str, str], tuple[str, ...]] = Recent(_KEPT_LOSSES)
        self.rendered = 0
        """How often something was rendered since this began."""

    def desired(self, candidate: Candidate, repository: str) -> DesiredState:
        """Return the desired state of a candidate on the host; empty but for its digest when its target is another one.

        Raises:
            ConfigError: the manifests have faults, all of them named.
            UserError: they cannot be rendered, or hold what the host does not do.
        """
        return self._render(candidate, repository).desired

    def objects(self, candidate: Candidate, repository: str) -> tuple[dict[str, Any], ...]:
        """Return the rendered objects of a candidate with every image by digest; raises what `desired` raises."""
        rendered = self._render(candidate, repository).rendered
        return self._substituted(rendered, candidate, self._allowed(candidate.app, candidate.environment))

    def images(self, candidate: Candidate, repository: str) -> frozenset[str]:
        """Return every image that a candidate's objects name, each by digest; raises what `desired` raises."""
        allowed = self._allowed(candidate.app, candidate.environment)
        return frozenset(image for value in self.objects(candidate, repository) for image in images_of(value, allowed))

    def render_facts(self, candidate: Candidate, delivery: str) -> RenderFacts:
        """Return digest and objects for a gate decision; what the user must mend comes back as text.

        Raises:
            WorldError: rendering failed for a reason outside the files; nothing is decided on that.
        """
        try:
            kept = self._render(candidate, delivery)
        except UserError as error:
            return RenderFacts("", (), error.render())
        return RenderFacts(kept.rendered.digest, tuple(identity(manifest) for manifest in kept.rendered.objects), content=kept.content)

    def pods(self, candidate: Candidate, delivery: str, standard: PodStandard) -> PodVerdict | None:
        """Return what a Pod Security Standard says of the render's pods; None when it cannot be rendered."""
        try:
            rendered = self._render(candidate, delivery).rendered
        except UserError:
            return None
        return pod_security.judge(rendered, standard, self._allowed(candidate.app, candidate.environment))

    def losses(self, candidate: Candidate, pinned: Candidate | None, delivery: str) -> tuple[str, ...]:
        """Return what of the pinned candidate's objects a candidate removes or makes anew: `Deployment/worker: its replicas stop`.

        A candidate that does not render loses nothing (it never gets in); when the pinned one does not render any more, that is said.
        """
        if pinned is None or pinned == candidate:
            return ()
        key = (candidate.digest, pinned.digest, delivery)
        lost = self._lost.get(key)
        if lost is None:
            lost = self._losses_now(candidate, pinned, delivery)
            self._lost.put(key, lost)
        return lost

    def _losses_now(self, candidate: Candidate, pinned: Candidate, delivery: str) -> tuple[str, ...]:
        try:
            self._render(candidate, delivery)
        except UserError:
            return ()
        try:
            self._render(pinned, delivery)
        except UserError:
            return ("what is pinned does not render any more, so nobody can say what is lost",)
        return tuple(f"{one.object}: {loss}" for one in self.changes(pinned, candidate, delivery) for loss in one.destructive)

    def changes(self, pinned: Candidate | None, candidate: Candidate, delivery: str) -> tuple[ObjectChange, ...]:
        """Return what differs between the renders of a pinned candidate and another, as its target takes it; raises what `desired` does."""
        after = self.objects(candidate, delivery)
        before = self.objects(pinned, delivery) if pinned is not None else ()
        on_host = self._allowed(candidate.app, candidate.environment).on_host
        return object_changes(before, after) if on_host else rendered_changes(before, after)

    def _render(self, candidate: Candidate, repository: str) -> _Kept:
        allowed = self._allowed(candidate.app, candidate.environment)
        key = (candidate.digest, repository, allowed)
        kept = self._kept.get(key)
        if kept is None:
            try:
                kept = self._render_now(candidate, repository, allowed)
            except UserError as error:
                if error.code in _OF_THE_HOME:
                    raise  # not a fault of the candidate: the key or the chart may be there at the next look
                kept = error
            self._kept.put(key, kept, 1 if isinstance(kept, UserError) else 1 + len(kept.rendered.objects))
        if isinstance(kept, UserError):
            raise kept.with_traceback(None)  # else every raise would add its frames to the one that is kept
        return kept

    def _render_now(self, candidate: Candidate, repository: str, allowed: Allowed) -> _Kept:
        app, environment = candidate.app, candidate.environment
        self.rendered += 1
        files = self._files(candidate, repository)
        rendered = self._renders.render(files, Place(app, environment, allowed.namespace), tuple(candidate.includes))
        rendered = readdressed(rendered, allowed.host)
        refuse_outside(rendered.objects, allowed, rendered.sources)
        objects = self._substituted(rendered, candidate, allowed)
        desired = to_host(objects, app, environment, rendered.sources) if allowed.on_host else elsewhere(app, environment, objects)
        if self._vault is not None:
            sealed.check(rendered.objects, files, desired, self._vault)
        return _Kept(rendered, desired, contents(objects, allowed))

    def _files(self, candidate: Candidate, repository: str) -> PinnedFiles:
        """Return the files of the pinned trees."""
        ids: dict[str, str] = {}
        for folder, tree in candidate.folders().items():
            if tree is not None:
                ids.update({f"{folder}/{file.path}": file.blob for file in self._git.files(repository, tree)})
        return PinnedFiles(ids, partial(self._git.blob, repository))

    def _substituted(self, rendered: Rendered, candidate: Candidate, allowed: Allowed) -> tuple[dict[str, Any], ...]:
        files = [name for name, pinned in candidate.artifacts.items() if self._is_file(pinned.oci_repository, pinned.digest)]
        return substitute(rendered.objects, candidate.artifacts, allowed, rendered.sources, files)
