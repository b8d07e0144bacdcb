"""The page that describes the HTTP API, and its OpenAPI document.

See operations, "Endpoints for operators".
"""

import json
from importlib.resources import files
from typing import Any

from ..options import Answer
from .request import Handler

__all__ = ["FILES", "swagger"]

#: Content types by name of the files below the prefix, besides the page.
FILES = {
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
}
_DOCUMENT = "openapi.json"

#: The page loads nothing from other hosts, and no other page may embed it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)


def swagger(prefix: str, document: dict[str, Any]) -> dict[bytes, Handler]:
    """Return the handlers by path: the page, its files and *document*."""
    base = prefix.rstrip("/")
    folder = files(__package__) / "api_page"
    page = (folder / "index.html").read_bytes()
    served = {
        f"{base}/": Answer(200, page, "text/html; charset=utf-8", _HEADERS),
        f"{base}/{_DOCUMENT}": Answer(
            200, json.dumps(document).encode(), "application/json", _HEADERS
        ),
    }
    for name, kind in FILES.items():
        content = (folder / name).read_bytes()
        served[f"{base}/{name}"] = Answer(200, content, kind, _HEADERS)
    if base:
        location = (b"location", f"{base}/".encode())
        served[base] = Answer(301, b"", "", (location,))
    return {path.encode(): _get(answer) for path, answer in served.items()}


def _get(answer: Answer) -> Handler:
    def handler(request: Any) -> Answer:
        return answer if request.method in (b"GET", b"HEAD") else Answer(405)

    return handler
