"""A server's row of HAProxy's statistics as what the rollout counts; called by the proxy, pure.

`hrsp_*` count responses that the server itself gave, so HAProxy's own 502, 503 and 504 are not among them (management manual, 9.1).
`eresp` is no count of requests: it holds `srv_abrt`, and a connection that closes without an answer adds two, a late or unreadable answer
one (measured with 2.8). `stot` counts every attempt to connect, so that a refused connection with its three retries adds four.
"""

from collections.abc import Mapping
from typing import Final

from setpoint.reconcile.ports import ServerCount

_RESPONSES: Final = {name: f"hrsp_{name}" for name in ("1xx", "2xx", "3xx", "4xx", "5xx", "other")}


def read(worker: int, row: Mapping[str, str]) -> ServerCount:
    """Return one row of `show stat`; what a row does not have counts as nothing."""
    responses = {name: _number(row.get(column)) for name, column in _RESPONSES.items()}
    broken = _number(row.get("srv_abrt"))
    return ServerCount(
        backend=row["pxname"],
        server=row["svname"],
        worker=worker,
        responses=responses,
        connect_errors=_number(row.get("econ")),
        broken=broken,
        unanswered_signs=max(0, _number(row.get("eresp")) - broken),
        ended=max(0, _number(row.get("stot")) - _number(row.get("scur")) - _number(row.get("wretr"))),
        client_aborts=_number(row.get("cli_abrt")),
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
