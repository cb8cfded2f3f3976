"""Blocking work that must be whole: done in a thread, and waited for even when whoever asked for it is cancelled.

Called by tasks that write to the journal; asyncio.to_thread alone leaves the thread behind, and its entry would come after what the
cancelled one says next.
"""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def to_the_end(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, bool]:
    """Return (what work returned, whether the caller was cancelled while it ran); it raises what work raises.

    The caller decides what a cancellation means by then: raise CancelledError, or `uncancel()` and let the result stand.
    """
    doing = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    cancelled = False
    while not doing.done():
        try:
            await asyncio.wait({doing})
        except asyncio.CancelledError:
            cancelled = True
    return doing.result(), cancelled
