"""What a shell offers after TAB for arguments that only the server knows: applications, environments, runs.

Called by click while a person types, so it asks once, waits little, and stays silent about every fault; it imports the client only then.
"""

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_TIMEOUT_S = 1.0


def apps(context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Offer the applications."""
    return _items(_ask(context, "status").get("apps", []), incomplete)


def environments(context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Offer the environments."""
    return _items(_ask(context, "status").get("environments", []), incomplete)


def _items(words: list[Any], incomplete: str) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    return [CompletionItem(word) for word in words if isinstance(word, str) and word.startswith(incomplete)]


def _ask(context: click.Context, path: str) -> dict[str, Any]:
    """Return an answer of the server that the verb itself would ask, or nothing."""
    from setpoint.client.connection import find
    from setpoint.client.http import Api
    from setpoint.core.errors import SetpointError

    try:
        given = context.params
        connection = find(given.get("server"), given.get("token"), given.get("home"))
        answer = Api(connection, timeout_s=_TIMEOUT_S).get(path)
    except SetpointError:
        return {}
    return answer if isinstance(answer, dict) else {}
