"""Numbers of bytes as people read them; pure, called by the command line and where sentences name a size."""

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def spoken(size_bytes: float) -> str:
    """Return a size as people read it: `512 B`, `3.4 MiB`."""
    for unit, name in _UNITS:
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{int(size_bytes)} B"
