"""From the proxy's counters to the strata of one look: pure, called by the canary whenever a look is due.

Counters only grow while a proxy's worker lives. Another worker (a reload), a smaller number or an unknown server began at nothing, so
all that it counted is new; asking twice adds nothing the second time.
"""

from collections.abc import Collection, Mapping, Sequence

from setpoint.reconcile.ports import ServerCount
from setpoint.rollout.judge.model import Stratum
from setpoint.rollout.model import Arm

Raw = tuple[int, ...]
"""worker, answered, answered as failed, connect errors, broken, signs of no answer, ended, client aborts"""
Baseline = dict[str, Raw]


def raw(count: ServerCount, classes: Collection[str]) -> Raw:
    """Return what is remembered of a server's counters; interim answers (1xx) are no answers."""
    answered = sum(number for name, number in count.responses.items() if name != "1xx")
    failed = sum(count.responses.get(name, 0) for name in classes)
    lost = (count.connect_errors, count.broken, count.unanswered_signs)
    return (count.worker, answered, failed, *lost, count.ended, count.client_aborts)


def requests_of(before: Raw | None, now: Raw) -> tuple[int, int]:
    """Return (requests that came to an end, those that failed) since before; None, another worker or a smaller number: since nothing.

    A request without an answer leaves one or two signs. How many there were is what ended beyond answers, lost connections and clients
    that went away, within the bounds that the signs set.
    """
    fresh = before is None or before[0] != now[0] or any(after < earlier for after, earlier in zip(now[1:6], before[1:6], strict=True))
    base = (0,) * len(now) if before is None or fresh else before
    answered, failed, lost, broken, signs, ended, aborts = (after - earlier for after, earlier in zip(now[1:], base[1:], strict=True))
    unanswered = min(signs, max((signs + 1) // 2, ended - answered - lost - aborts))
    requests = answered + lost + unanswered
    return requests, min(requests, failed + lost + unanswered + broken)


def look(
    baseline: Mapping[str, Raw] | None,
    found: Sequence[ServerCount],
    arms: Mapping[str, Arm],
    classes: Collection[str],
    *,
    close: bool = False,
) -> tuple[list[Stratum], Baseline]:
    """Return one stratum for each route (a backend of the proxy) and the next baseline; the first look only sets the baseline.

    Arms says which servers count for which side; the others are left out. A server that is gone takes its last counts with it. A route
    where only one side answered is left for a later look, for one side alone says nothing; how long it is left depends on requests, never
    on errors. With `close` nothing is left: the weights change now.
    """
    # What is not answered for this time (a server between two states) is remembered, or it would count twice when it is there again.
    after: Baseline = {key: value for key, value in (baseline or {}).items() if key.partition(" ")[2] in arms}
    sums: dict[str, dict[Arm, tuple[int, int]]] = {}
    seen: dict[str, Baseline] = {}
    for count in found:
        arm = arms.get(count.server)
        if arm is None:
            continue
        key = f"{count.backend} {count.server}"
        now = raw(count, classes)
        seen.setdefault(count.backend, {})[key] = now
        new_requests, new_errors = requests_of(None if baseline is None else baseline.get(key), now)
        before = sums.setdefault(count.backend, {}).get(arm, (0, 0))
        sums[count.backend][arm] = (before[0] + new_requests, before[1] + new_errors)
    strata = {backend: Stratum(*one.get("canary", (0, 0)), *one.get("stable", (0, 0))) for backend, one in sums.items()}
    told = [backend for backend, one in strata.items() if close or baseline is None or (one.canary_requests and one.stable_requests)]
    for backend in told:
        after |= seen[backend]
    for backend in strata.keys() - set(told):  # what it had before it was first asked is no news later
        after |= {key: (now[0], *(0 for _ in now[1:])) for key, now in seen[backend].items() if key not in after}
    return [] if baseline is None else [strata[backend] for backend in told], after
