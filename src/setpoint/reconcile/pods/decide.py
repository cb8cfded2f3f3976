"""Which build a pod runs and what that is to the pins: pure functions of the pods, the pins' images and who the owners are (law 6).

Called by the pods service for passes, `status`, `why`, the page and metrics, which all say the same. Digests decide, never labels: what a
pod says of itself only chooses among builds that really have its images.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from setpoint.core import kinds
from setpoint.core.words import counted
from setpoint.reconcile.cluster.owner import Owner
from setpoint.reconcile.model import DeployReason
from setpoint.reconcile.pods.digests import name_of, reported
from setpoint.reconcile.pods.model import Aliases, Build, Placed, Pod, PodContainer, PodGroup, PodState, PodVerdict

_NAMES: Final = 20
_RUN: Final = frozenset({"Job", "CronJob"})


@dataclass(frozen=True, slots=True)
class Named:
    """What is named in one namespace."""

    home: str
    current: Mapping[Placed, Sequence[Build]]
    """Of pins that are admitted, targets of open holds, and pins that the inventory names."""
    aliases: Aliases
    earlier: Mapping[Placed, Sequence[Build]] = field(default_factory=dict)
    """Of promotions before, newest first."""
    settled: Collection[Placed] = ()
    """Where nothing is on its way."""
    environments: Collection[str] = ()
    """Those that live in the namespace."""


def judge(pod: Pod, named: Named) -> PodVerdict | None:
    """Return what is said of a pod; None when it runs nothing any more, or its owners are not known yet."""
    if pod.ended or not pod.chained:
        return None
    mark = owner(pod, named)
    containers = [one for one in pod.containers if not (one.sort == "ephemeral" and one.ended)]
    if mark is None and pod.leaving:
        return None  # who made it may be gone before it
    if mark is None:
        every = [build for builds in named.current.values() for build in builds]
        unnamed = _unnamed(containers, every, named.aliases)
        return PodVerdict(pod, PodState.FOREIGN, build=_covering(pod, containers, every, named.aliases), unnamed=unnamed)
    place = (mark.app, mark.environment)
    mine, before = named.current.get(place, ()), named.earlier.get(place, ())
    current = _covering(pod, containers, mine, named.aliases)
    verdict = PodVerdict(pod, PodState.PINNED, mark.app, mark.environment, current)
    if current is not None:
        return replace(verdict, state=PodState.LEAVING) if pod.leaving else verdict
    earlier = _covering(pod, containers, before, named.aliases)
    unnamed = _unnamed(containers, [*mine, *before], named.aliases)
    if earlier is not None or not unnamed:
        stays = not pod.leaving and place in named.settled and not _is_run(pod)
        return replace(verdict, state=PodState.EARLIER if stays else PodState.LEAVING, build=earlier)
    if any(not kinds.is_kubernetes(_group(one.api_version)) for one in pod.owners):
        return replace(verdict, state=PodState.OPERATED, unnamed=unnamed)
    if all(not reported(one.image) and not one.image_id for one in unnamed):
        return replace(verdict, state=PodState.STARTING, unnamed=unnamed)
    return replace(verdict, state=PodState.UNNAMED, unnamed=unnamed)


def groups(verdicts: Sequence[PodVerdict]) -> tuple[PodGroup, ...]:
    """Return pods by workload and build, worst last."""
    found: dict[tuple[str, ...], list[PodVerdict]] = {}
    for one in verdicts:
        promotion = one.build.promotion if one.build is not None else ""
        found.setdefault((one.pod.workload, one.state, promotion, *sorted({_shown(c) for c in one.pod.containers})), []).append(one)
    rows = []
    order = {state: place for place, state in enumerate(PodState)}
    for (workload, _state, promotion, *images), mine in found.items():
        build, pods = mine[0].build, sorted(one.pod.name for one in mine)
        rows.append(
            PodGroup(
                workload=workload,
                state=mine[0].state,
                version=build.version if build is not None else "",
                promotion=promotion,
                revision=build.revision if build is not None else "",
                images=tuple(images),
                count=len(mine),
                ready=sum(one.pod.ready for one in mine),
                pods=tuple(pods[:_NAMES]),
                chain=min(mine, key=lambda one: one.pod.name).pod.chain,
            )
        )
    return tuple(sorted(rows, key=lambda row: (order[row.state], row.workload, row.promotion, row.images)))


def reasons(found: Sequence[PodGroup], place: str) -> Iterator[DeployReason]:
    """Yield what is to be said of an application's pods: those that run what no pin names, and those that nothing takes away."""
    for group in found:
        if group.state is PodState.UNNAMED:
            told = f"{_some(group)} what no pin names: {_list(group.images)} ({group.chain})"
            fix = f"find out who made it (setpoint trace pod/{group.pods[0]}), and put back what the pin says"
            yield DeployReason("POD_UNNAMED", group.workload, told, fix, "problem")
        elif group.state is PodState.EARLIER:
            told = f"{_some(group)} the earlier {group.version or 'build'}, and nothing takes it away ({group.chain})"
            yield DeployReason("POD_EARLIER", group.workload, told, f"delete the pod, or see its owner's strategy; {place}", "problem")


def strangers(found: Sequence[PodGroup], where: str) -> Iterator[DeployReason]:
    """Yield what is to be said of pods in an environment's namespace that nobody of ours made."""
    for group in found:
        told = f"nobody of ours made it: {_some(group)} {_list(group.images)} in {where} ({group.chain})"
        yield DeployReason("POD_FOREIGN", group.workload, told, "give what is not of this environment a namespace of its own")


def _some(group: PodGroup) -> str:
    return f"{counted(group.count, 'pod')} {'run' if group.count != 1 else 'runs'}"


def _list(images: Sequence[str]) -> str:
    return ", ".join(name_of(image) for image in images[:5])


def owner(pod: Pod, named: Named) -> Owner | None:
    """Return whose a pod is: what a controller above it says, of this home and of an environment that lives here."""
    for one in reversed(pod.owners):
        if one.whose is not None and one.whose.home == named.home and one.whose.environment in named.environments:
            return one.whose
    return None


def _covering(pod: Pod, containers: Sequence[PodContainer], builds: Sequence[Build], aliases: Aliases) -> Build | None:
    """Return the build that names everything a pod runs: the one that the pod says, if it is one of these; else the first."""
    covering = [build for build in builds if containers and all(_names(build, one, aliases) for one in containers)]
    return next((build for build in covering if build.promotion == pod.promotion), covering[0] if covering else None)


def _unnamed(containers: Sequence[PodContainer], builds: Sequence[Build], aliases: Aliases) -> tuple[PodContainer, ...]:
    return tuple(one for one in containers if not any(_names(build, one, aliases) for build in builds))


def _names(build: Build, container: PodContainer, aliases: Aliases) -> bool:
    """Say whether a build names what a container runs: by the digest it asks for, or the one that its node reports."""
    written = {reported(container.image), reported(container.image_id)} - {""}
    return any(written & aliases.get(digest, frozenset({digest})) for digest in map(reported, build.images))


def _is_run(pod: Pod) -> bool:
    return any(one.kind in _RUN for one in pod.owners)


def _shown(container: PodContainer) -> str:
    if reported(container.image) or not container.image_id:
        return container.image
    return f"{container.image}@{reported(container.image_id)}" if reported(container.image_id) else container.image


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def by_place(verdicts: Sequence[PodVerdict]) -> dict[Placed, list[PodVerdict]]:
    """Return the verdicts by whose the pods are; under two empty names those of nobody of ours."""
    found: dict[Placed, list[PodVerdict]] = {}
    for one in verdicts:
        found.setdefault((one.app, one.environment), []).append(one)
    return found
