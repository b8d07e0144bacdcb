"""All checks, in the order in which they are reported, in bounded time."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from ..config.model import Config
from .certificate import check_certificate
from .clock import check_date
from .exposure import check_exposure
from .findings import Finding, ok, problem
from .idle_timeout import GRACE, check_idle_timeout
from .kernel import check_kernel
from .memory import check_memory
from .open_files import check_open_files, file_limit
from .origins import check_origins
from .site import Site, Unreachable
from .streams import check_streams
from .tokens import mint_token
from .upgrade import check_websocket

__all__ = ["Examination"]

#: Seconds that all checks may take together, apart from the wait for a ping.
LONGEST = 60.0


@frozen(eq=False)
class Examination:
    """One examination of a configuration and of the server that runs with it."""

    reactor: Any
    config: Config
    site: Site
    #: Connection token, empty: one is made with the configured key.
    token: str = ""
    #: An origin that is to be allowed, empty: one of the configuration.
    origin: str = ""
    #: Whether to wait for the first ping on an idle connection.
    slow: bool = False
    #: Where ``proc`` and ``sys`` are.
    root: Path = Path("/")

    async def run(self, report: Callable[[Finding], object]) -> None:
        """Report every finding; Redis and the server are examined meanwhile."""
        server = self._bounded("server", self._check_server())
        redis = self._bounded("redis", self._check_redis())
        for finding in self._check_machine():
            report(finding)
        for waiting in (redis, server):
            for finding in await waiting:
                report(finding)

    def _bounded(
        self, check: str, found: Awaitable[list[Finding]]
    ) -> "Deferred[list[Finding]]":
        """Return findings; after `LONGEST` seconds, that they did not come."""
        limit = LONGEST + (self.config.client.ping_interval + GRACE) * self.slow

        def late(failure: Failure) -> list[Finding]:
            failure.trap(TimeoutError)
            said = f"the checks were not finished within {limit:.0f} s"
            return [problem(check, said, "see whether the network drops packets")]

        bounded = Deferred.fromCoroutine(_awaited(found))
        return bounded.addTimeout(limit, self.reactor).addErrback(late)

    def _check_machine(self) -> list[Finding]:
        limit = file_limit(self.root, self.config.pid_file)
        return [
            *check_open_files(self.config, limit),
            *check_memory(self.config, self.root),
            *check_kernel(self.config, self.root),
        ]

    async def _check_redis(self) -> list[Finding]:
        """Check Redis; its client is only loaded where it is in use."""
        config = self.config
        types = [config.engine.type, config.broker.type, config.presence_manager.type]
        types += [config.map_broker.type, *(each.type for each in config.consumers)]
        if not any(each.startswith("redis") for each in types):
            return []
        from .redis_shards import check_redis

        return await check_redis(self.reactor, config)

    async def _check_server(self) -> list[Finding]:
        """Check the running server through its URL; stop if nothing can pass."""
        site, config = self.site, self.config
        found = list(await self._in_thread(check_certificate, site))
        if any(each.level == "problem" for each in found):
            return found
        path = config.websocket.handler_prefix
        try:
            reply = await self._in_thread(site.request, "GET", path)
        except Unreachable as error:
            remedy = "is the server running, and the address right?"
            return [*found, problem("server", f"{site}: {error}", remedy)]
        found += check_date(str(site), reply.date)
        token = self.token or mint_token(config.client.token)
        idle: list[Finding] = []
        if config.websocket.disabled:
            found.append(ok("websocket", "is disabled by websocket.disabled"))
        else:
            passed, dialog, interval = await check_websocket(
                self.reactor, site, config, token
            )
            found += passed
            if dialog is not None:
                try:
                    if self.slow:
                        idle = await check_idle_timeout(self.reactor, dialog, interval)
                finally:
                    dialog.end()
                found += await check_origins(self.reactor, site, config, self.origin)
        found += await self._in_thread(check_streams, site, config, token)
        if site.is_public:
            found += await self._in_thread(check_exposure, site, config)
        return [*found, *idle]

    def _in_thread(self, function: Callable[..., Any], *given: Any) -> Deferred[Any]:
        pool = self.reactor.getThreadPool()
        return deferToThreadPool(self.reactor, pool, function, *given)


async def _awaited(found: Awaitable[list[Finding]]) -> list[Finding]:
    return await found
