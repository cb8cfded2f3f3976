"""Steps of many applications side by side, each application's own in order: a cluster takes many calls at a time.

Called by the target in a pass. How many calls are under way at once is the connection's to bound.
"""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from setpoint.core.errors import SetpointError

T = TypeVar("T")
_WORKERS: Final = 16
"""As many as a connection has calls at once."""


def at_once(steps: Mapping[str, Callable[[], T]], calling: Collection[str], into: dict[str, T]) -> None:
    """Take every step and note what came of it under its name: those that make calls side by side, after all others.

    Raises:
        SetpointError: the first that a step raised, once all have ended.
    """
    for name in steps.keys() - set(calling):
        into[name] = steps[name]()
    failed: list[SetpointError] = []
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="apply") as pool:
        for name, future in {name: pool.submit(step) for name, step in steps.items() if name in calling}.items():
            try:
                into[name] = future.result()
            except SetpointError as error:
                failed.append(error)
    if failed:
        raise failed[0]
