"""The path of a request, from its target (RFC 9112, 3.2)."""

import re
from html import escape
from posixpath import normpath
from urllib.parse import unquote_to_bytes

from ..options import Answer

__all__ = ["path_of"]

_TEXT = "text/plain; charset=utf-8"
_BAD = Answer(400, b"Bad Request\n", _TEXT)
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:(?://[^/?]*)?(?=[/?]|\Z)")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def path_of(target: bytes, method: bytes = b"") -> tuple[bytes, Answer | None]:
    """Return the path of a request *target*.

    Escapes are decoded, but do not separate segments: ``/api%2fpublish`` is one.

    :return: the path, and None; or the path as written, and the response: a redirect
        to the path without empty and dot segments, or 400.
    """
    path, mark, query = target.partition(b"?")
    if path.startswith(b"/"):
        if b"%" not in path and b"//" not in path and b"/." not in path:
            return path, None
    else:
        whole = _ABSOLUTE.match(target)
        if whole is None:
            return path, _BAD
        path, mark, query = target[whole.end() :].partition(b"?")
    if _BAD_ESCAPE.search(path):
        return path, _BAD
    clean = _clean(path)
    if clean != path:
        return path, _redirect(clean + mark + query, method)
    names = [unquote_to_bytes(name) for name in path.split(b"/")]
    if any(b"/" in name for name in names):
        return path, None
    return b"/".join(names), None


def _clean(path: bytes) -> bytes:
    clean = normpath(b"/" + path.lstrip(b"/"))
    return clean + b"/" if path.endswith(b"/") and clean != b"/" else clean


def _redirect(location: bytes, method: bytes) -> Answer:
    headers = ((b"Location", location),)
    if method not in (b"GET", b"HEAD"):
        return Answer(307, headers=headers)
    link = escape(location.decode("latin-1"))
    body = f'<a href="{link}">Temporary Redirect</a>.\n\n'.encode("latin-1")
    return Answer(307, body, "text/html; charset=utf-8", headers)
