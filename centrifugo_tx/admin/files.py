"""The files of the page: those of this package, or of a folder."""

from hashlib import sha256
from importlib.resources import files
from typing import Any

from attrs import define
from twisted.web.resource import IResource, Resource

from ..options import Answer

__all__ = ["FILE_HEADERS", "StaticFile", "below", "folder", "own_files", "redirect"]

#: The page loads and executes only our own files, and no other page may frame it.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    b" connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILE_HEADERS = (
    (b"Content-Security-Policy", _POLICY),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-Frame-Options", b"DENY"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cache-Control", b"no-cache"),
)
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@define(eq=False)
class StaticFile:
    """Answers with one file, or 304 if the browser has it."""

    _body: bytes
    _content_type: str
    _tag: bytes

    def __call__(self, request: Any) -> Answer:
        """Answer a GET or HEAD request."""
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405)
        headers = (*FILE_HEADERS, (b"ETag", self._tag))
        if request.getHeader(b"if-none-match") == self._tag:
            return Answer(304, headers=headers)
        return Answer(200, self._body, self._content_type, headers)


def own_files() -> dict[str, StaticFile]:
    """Return the files of the page by their names."""
    found = {}
    for path in files(__package__).joinpath("static").iterdir():
        kind = _TYPES.get(path.name.rpartition(".")[2])
        if kind is not None:
            body = path.read_bytes()
            tag = b'"%b"' % sha256(body).hexdigest()[:16].encode()
            found[path.name] = StaticFile(body, kind, tag)
    return found


def folder(path: str, prefix: str) -> IResource:
    """Return the resource that serves the files of a folder below *prefix*."""
    # Imported late, since its import warns of a deprecation within Twisted itself.
    from twisted.web.static import File

    return below(prefix, File(path))


def below(prefix: str, resource: IResource) -> IResource:
    """Return the resource that serves *resource* below *prefix*."""
    for name in reversed(prefix.strip("/").split("/")):
        if name:
            parent = Resource()
            parent.putChild(name.encode(), resource)
            resource = parent
    return resource


def redirect(path: str) -> Any:
    """Return a handler that sends the browser to *path*."""
    headers = ((b"Location", path.encode()),)
    return lambda request: Answer(301, headers=headers)
