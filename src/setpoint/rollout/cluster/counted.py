"""From the pages of a data plane to what each revision answered: pure, called by the cluster's sides for each look.

A counter belongs to a revision when one of its labels holds the name of that revision's Service, whole: the name ends in the revision hash,
which the namespace is part of, so it stands for nothing else on the cluster. What the clients saw is counted, the data plane's own errors
for a backend included.
"""

import re
from collections.abc import Mapping
from typing import Final

from setpoint.reconcile.ports import ServerCount
from setpoint.rollout.cluster.exposition import Sample, samples
from setpoint.rollout.model import Arm

_REQUESTS: Final = ("haproxy_backend_http_responses_total", "traefik_service_requests_total")
"""Requests by the code of their answer, as HAProxy's exporter and Traefik count them for each backend."""
_BEGAN: Final = ("haproxy_process_start_time_seconds", "process_start_time_seconds")
"""When the process began: another time is another process, whose counters began at nothing."""
_CLASS: Final = re.compile(r"([1-5])(?:xx|[0-9]{2})")


def counted(pages: Mapping[str, str], services: Mapping[str, tuple[str, Arm]]) -> tuple[list[ServerCount], dict[str, Arm]]:
    """Return the counts of some Services of revisions, and which side each counts for.

    Services is {Service of a revision: (what people call it, side)}; the counts of both sides of one stand beside each other.

    Raises:
        ValueError: a page is too large.
    """
    counts: dict[tuple[str, str], tuple[int, dict[str, int]]] = {}
    sides: dict[str, tuple[str, Arm]] = {}
    for who, text in pages.items():
        found = list(samples(text, (*_REQUESTS, *_BEGAN)))
        began = int(max((one.value for one in found if one.name in _BEGAN), default=0))
        for one in found:
            service = _service(one, services) if one.name in _REQUESTS else ""
            if not service:
                continue
            backend, arm = services[service]
            server = f"{service} of {who}"
            sides[server] = (backend, arm)
            _worker, codes = counts.setdefault((backend, server), (began, {}))
            kind = _CLASS.fullmatch(one.labels.get("code", ""))
            name = f"{kind[1]}xx" if kind else "other"
            codes[name] = codes.get(name, 0) + int(one.value)
    rows = [ServerCount(backend, server, worker, codes) for (backend, server), (worker, codes) in sorted(counts.items())]
    return rows, {server: arm for server, (_backend, arm) in sides.items()}


def _service(sample: Sample, services: Mapping[str, tuple[str, Arm]]) -> str:
    """Return the Service that a sample is of; empty when it is of none, or of several.

    A name that ends in another Service's name holds that one too (`public-api`, `api`): the longest is meant.
    """
    found = {name for name in services for value in sample.labels.values() if _holds(value, name)}
    longest = max(found, key=len, default="")
    return longest if all(longest.endswith(name) for name in found) else ""


def _holds(value: str, name: str) -> bool:
    """Say whether a label's value has a name in it that ends there: what may come before it is a namespace."""
    at = value.find(name)
    while at >= 0:
        before, after = value[at - 1 : at], value[at + len(name) : at + len(name) + 1]
        if not before.isalnum() and not after.isalnum():
            return True
        at = value.find(name, at + 1)
    return False
