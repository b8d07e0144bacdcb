"""The token settings: a token made with the configured key must be accepted."""

import time

from ..access.tokens import TokenOptions
from ..token_signing import sign_for_user
from .findings import Finding, ok, problem, warning
from .websocket_dialog import Ended, WebSocketDialog

__all__ = ["check_token", "mint_token"]

_CHECK = "token"
#: Seconds that a token is valid.
_LIFE = 120
_USER = "doctor"

_REMEDY = (
    "reload the server, or give --config the file that it reads; backends must sign"
    " with the same key"
)


def mint_token(options: TokenOptions) -> str:
    """Return a short-lived connection token, empty where no HMAC key is set."""
    return sign_for_user(options, _USER, {"exp": int(time.time()) + _LIFE})


async def check_token(
    dialog: WebSocketDialog, token: str
) -> tuple[list[Finding], float]:
    """Connect; also return the interval of the server's pings, 0 without any.

    :param token: empty: without a token.
    """
    request = {"name": "centrifugo-tx doctor", **({"token": token} if token else {})}
    try:
        reply = await dialog.ask(connect=request)
    except Ended as ended:
        if token:
            said = f"the server does not accept the token ({ended})"
            return [problem(_CHECK, said, _REMEDY)], 0.0
        return [_without_token(str(ended))], 0.0
    error = reply.get("error")
    if error is not None:
        said = f"connect failed with error {error.get('code')}: {error.get('message')}"
        if not token:
            return [_without_token(said)], 0.0
        return [problem(_CHECK, said, _REMEDY)], 0.0
    how = "a token signed with the configured key" if token else "no token"
    return (
        [ok(_CHECK, f"connected with {how}")],
        float(reply.get("connect", {}).get("ping", 0)),
    )


def _without_token(said: str) -> Finding:
    return warning(
        _CHECK,
        f"not checked: client.token.hmac_secret_key is not set ({said})",
        "give one with --token",
    )
