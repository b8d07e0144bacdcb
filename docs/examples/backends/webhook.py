"""Calls of the server without a framework, and tokens."""

from wsgiref.types import StartResponse, WSGIEnvironment

from centrifugo_tx.backend import (
    PUBLISH,
    SIGNATURE_HEADER,
    Error,
    InvalidRequest,
    PublishRequest,
    PublishResult,
    TokenSigner,
    Webhook,
)

SIGNER = TokenSigner(
    key="a secret that the server knows as client.token.hmac_secret_key"
)
PUBLISHED = Webhook(PUBLISH, secrets=("new secret", "old secret"))


def token_for(user: str) -> str:
    """Return a token that connects for an hour."""
    return SIGNER.connection_token(user, expires_in=3600, info={"name": user})


def publish(call: PublishRequest) -> PublishResult | Error:
    """Decide about a publication."""
    if call.user != "admin":
        return Error(403, "only admin may publish")
    return PublishResult(tags={"by": call.user})


def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer one call (WSGI)."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    header = "HTTP_" + SIGNATURE_HEADER.upper().replace("-", "_")
    try:
        answer = PUBLISHED.answer(body, environ.get(header), publish)
    except InvalidRequest as error:
        start_response(f"{error.status} Refused", [("Content-Type", "text/plain")])
        return [str(error).encode()]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer]
