"""Style sheet, script and icon, served from the package under a name that holds their digest, so browsers keep them for ever.

Called by templates (`asset`) and by the static route; reads only the files it found at import.
"""

import hashlib
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from setpoint.core.errors import NotFoundError
from setpoint.web.render import PageRoute

_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FILES: Final = {path.name: path.read_bytes() for path in (Path(__file__).parent / "static").iterdir() if path.suffix in _TYPES}
_DIGESTS: Final = {name: hashlib.sha256(data).hexdigest()[:16] for name, data in _FILES.items()}

router = APIRouter(route_class=PageRoute)


def asset(name: str) -> str:
    """Return the path of a static file, with its digest."""
    return f"/static/{_DIGESTS[name]}/{name}"


@router.get("/static/{digest}/{name}")
def static(request: Request, digest: str, name: str) -> Response:
    """Return a static file; the only pages' content that needs no login."""
    if name not in _FILES:
        raise NotFoundError("SP862", f"there is no file `{name}`", where=request.url.path)
    tag = f'"{_DIGESTS[name]}"'
    current = digest == _DIGESTS[name]
    headers = {"ETag": tag, "Cache-Control": "public, max-age=31536000, immutable" if current else "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(_FILES[name], media_type=_TYPES[Path(name).suffix], headers=headers)
