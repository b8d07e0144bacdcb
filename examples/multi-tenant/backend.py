"""Two tenants, each with a key set of its own, and a board that only its users see."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from cent import AsyncClient, PublishRequest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from jwt.algorithms import ECAlgorithm
from pydantic import BaseModel, StringConstraints
from starlette.middleware.sessions import SessionMiddleware

from centrifugo_tx.backend import TokenSigner

API_KEY = "call-the-api-with-a-long-random-secret"  # as in centrifugo.json
API_URL = os.environ.get("CENTRIFUGO_API_URL", "http://localhost:8000/api")

PAGE = Path(__file__).with_name("index.html")
#: A folder for each tenant, with a private key in each file; the last one signs.
KEYS = Path(os.environ.get("TENANT_KEYS", Path(__file__).with_name("keys")))

Tenant = Literal["acme", "globex"]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make missing keys, and keep one client of the server API."""
    for tenant in ("acme", "globex"):
        if not key_files(tenant):
            make_key(KEYS / tenant / "1.pem")
    app.state.centrifugo = AsyncClient(API_URL, API_KEY)
    yield
    await app.state.centrifugo.close()


def key_files(tenant: str) -> list[Path]:
    """Return the files of a tenant's private keys, named for the ids of the keys."""
    return sorted((KEYS / tenant).glob("*.pem"))


def make_key(path: Path) -> None:
    """Write a new private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem)


def public_key(path: Path) -> dict[str, Any]:
    """Return the public part of a private key as an entry of a key set (JWK)."""
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    entry = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**entry, "kid": path.stem, "use": "sig", "alg": "ES256"}


app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, secret_key="sign-cookies-with-another-secret")


class Account(BaseModel):
    """A user of a tenant; a real application asks for a password, too."""

    tenant: Tenant
    name: Annotated[str, StringConstraints(pattern=r"^\w{1,20}$")]


class Message(BaseModel):
    """What a user has written."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=500)]


def current_account(request: Request) -> Account:
    """Return the account of the session."""
    if "account" not in request.session:
        raise HTTPException(401, "log in first")
    return Account(**request.session["account"])


Current = Annotated[Account, Depends(current_account)]


@app.get("/")
def page() -> FileResponse:
    """Return the page."""
    return FileResponse(PAGE)


@app.post("/login")
def login(account: Account, request: Request) -> None:
    """Begin a session."""
    request.session["account"] = account.model_dump()


@app.get("/tenants/{tenant}/jwks.json")
def key_set(tenant: Tenant) -> dict[str, Any]:
    """Return the tenant's public keys, which the server fetches."""
    return {"keys": [public_key(path) for path in key_files(tenant)]}


@app.get("/token")
def token(account: Current) -> dict[str, str]:
    """Return a token, which subscribes to the tenant's channel and is signed for it."""
    path = key_files(account.tenant)[-1]
    signer = TokenSigner(
        key=path.read_bytes(),
        algorithm="ES256",
        key_id=path.stem,
        issuer=f"https://id.example/{account.tenant}",
    )
    # Names of users are unique in their tenant only; ids must be unique in the server.
    made = signer.connection_token(
        f"{account.tenant}/{account.name}",
        expires_in=600,
        channels=[f"tenant:{account.tenant}"],
    )
    return {"tenant": account.tenant, "name": account.name, "token": made}


@app.post("/messages")
async def post(message: Message, account: Current, request: Request) -> None:
    """Publish to all users of the tenant."""
    data = {"from": account.name, "text": message.text, "at": time.time()}
    await request.app.state.centrifugo.publish(
        PublishRequest(channel=f"tenant:{account.tenant}", data=data)
    )
