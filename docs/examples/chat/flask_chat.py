"""A chat in Flask.  Run it with ``python flask_chat.py``."""

import itertools
from pathlib import Path

import cent
from flask import Flask, Response, abort, jsonify, request, send_file, session

from centrifugo_tx.backend import TokenSigner

app = Flask(__name__)
app.secret_key = "a secret that signs the sessions"
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"

page = Path(__file__).with_name("index.html")
signer = TokenSigner(key="a-long-random-secret-of-32-bytes-or-more")
server = cent.Client("http://localhost:8000/api", "another-long-random-secret")
messages: list[dict[str, object]] = []  # a real application has a table
ids = itertools.count(1)


def current_user() -> str:
    return str(session.get("user") or abort(403))


@app.get("/")
def index() -> Response:
    return send_file(page.absolute())


@app.post("/login")
def login() -> str:
    """Log a user in; a real application asks for a password."""
    session["user"] = request.get_json()["name"]
    return ""


@app.get("/token")
def token() -> str:
    """Return a token with which the user of this session can connect."""
    return signer.connection_token(current_user(), expires_in=3600)


@app.get("/messages")
def latest() -> Response:
    current_user()
    return jsonify(messages[-100:])


@app.post("/messages")
def send() -> str:
    """Store a message and publish it."""
    text = str(request.get_json()["text"])[:1000]
    message = {"id": next(ids), "from": current_user(), "text": text}
    messages.append(message)
    try:
        server.publish(cent.PublishRequest(channel="chat:lobby", data=message))
    except cent.CentError:
        app.logger.exception("stored, but not published")
    return ""


if __name__ == "__main__":
    app.run(port=3000)
