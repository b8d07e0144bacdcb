"""A browser session on the admin page of a node with a memory engine."""

import json
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from centrifugo_tx.admin import AdminEndpoints, AdminOptions, Inspector
from centrifugo_tx.api import Api
from centrifugo_tx.api.http import keyless_legacy_handler
from centrifugo_tx.options import Answer
from tests.api.api_backend import Request, Rules
from tests.support import World

__all__ = ["Body", "Page"]


@define(eq=False)
class Body:
    """A response body that keeps the written lines."""

    lines: list[Any] = field(factory=list)
    over: "Deferred[None]" = field(factory=Deferred)
    producer: Any = None
    finished: bool = False

    def start(self, headers: Any, now: float, first: bytes = b"") -> None:
        self.write(first)

    def closed(self) -> "Deferred[None]":
        return self.over

    def write(self, data: bytes) -> None:
        assert not self.finished, "written after the end"
        self.lines += [json.loads(line) for line in data.splitlines()]

    def registerProducer(self, producer: object, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def finish(self) -> None:
        self.finished = True
        self.over.callback(None)


@define(eq=False)
class Page:
    """A browser that asks a node with a memory engine."""

    options: AdminOptions = AdminOptions(enabled=True, password="pw", secret="s")
    world: World = field(factory=lambda: World(policy=Rules()))
    token: str = ""
    bodies: list[Body] = field(factory=list)
    inspector: Inspector = field(init=False)
    endpoints: AdminEndpoints = field(init=False)
    handlers: dict[bytes, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        node = self.world.node
        self.inspector = Inspector(node)
        api = keyless_legacy_handler(Api(node))
        self.endpoints = AdminEndpoints(
            *(self.world.clock, self.options, node, self.inspector, api, self._body)
        )
        self.handlers = {**self.endpoints.handlers(), **self.endpoints.streams()}

    def _body(self, request: Any) -> Body:
        self.bodies.append(Body())
        return self.bodies[-1]

    def send(
        self, path: str, body: bytes = b"", verb: bytes = b"POST", **headers: str
    ) -> Any:
        """Return the answer to a request, or what there will be one from."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            names.setdefault("Authorization", f"token {self.token}")
        return self.handlers[path.encode()](Request(body, names, verb, path.encode()))

    def login(self, password: str = "pw") -> Answer:
        """Try to log in; keep the token."""
        answer: Answer = self.send("/admin/auth", f"password={password}".encode())
        if answer.status == 200:
            self.token = json.loads(answer.body)["token"]
        return answer

    def ask(self, question: str, **request: Any) -> Any:
        """Return the JSON of an answer, after as many turns as it takes."""
        found = self.send(f"/admin/{question}", json.dumps(request).encode())
        if isinstance(found, Deferred):
            answers: list[Answer] = []
            found.addCallback(answers.append)
            for _ in range(10_000):
                if answers:
                    break
                self.world.clock.advance(0)
            found = answers[0]
        assert found.status == 200, found
        return json.loads(found.body)

    def result(self, question: str, **request: Any) -> Any:
        """Return the result of a question that is answered."""
        return self.ask(question, **request)["result"]
