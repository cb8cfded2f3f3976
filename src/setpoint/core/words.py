"""Small words of sentences for people: a count with its noun; called by whoever writes a sentence, pure."""


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: `1 proxy`, `2 proxies`, `0 tasks`; `many` is needed where an s does not make it."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
