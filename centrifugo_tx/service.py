"""The composition root: the only place that wires the floors together."""

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.application.service import MultiService
from twisted.internet.defer import (
    Deferred,
    gatherResults,
    maybeDeferred,
)
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger

from .access.jwks import KeySet
from .admin_page import AdminPage
from .certificate_renewal import (
    CertificateExpiry,
    own_certificates,
    renewed_ports,
)
from .client_endpoints import connection_limiter
from .config.model import Config
from .config.reloading import with_reloaded
from .config.tls_sections import outgoing_tls
from .configured_node import engine, node_options
from .configured_policy import access_policy
from .configured_ports import (
    Address,
    Gather,
    addresses,
    endpoints,
    interface_of,
    port_tls,
)
from .consumer_services import Consumers
from .core import Node, journal_for
from .debug import Diagnostics
from .errors import ConfigError
from .gc_freeze import GCFreezer
from .grpc.asyncio_bridge import AsyncioBridge
from .grpc_ports import GRPCPorts
from .metric_reports import metric_reports
from .metrics import Metrics
from .proxies import EventProxies, Polling
from .proxy_services import event_proxies, polling_backends
from .renewed_tls import renew_tls
from .tls import ServerTLS
from .tracing import OpenTelemetry, tracing
from .transports.connection_limit import ConnectionLimiter
from .transports.overload import OverloadGuard
from .web.probes import Health
from .web.request_counts import RequestCounts
from .web.site import Endpoints, ListenerSettings, listen

__all__ = ["Server", "build", "make_service"]


def build(
    reactor: Any,
    config: Config,
    gather: Gather | None = None,
    inherited: Mapping[Address, int] | None = None,
) -> "Server":
    """Build the server that *config* describes; call ``startService`` to run it.

    :param gather: combines the metrics of all workers; None if this process is the
        only one.  With workers, the ports are shared, and the health endpoint answers
        503 until the caller sets ``health.serving`` of the server.
    :param inherited: descriptors of sockets that listen already, by address.
    :raises ConfigError: nothing is served on an inherited socket.
    """
    counts = Metrics()
    # All of gRPC on one loop: its client and its server share a poller.
    bridge = AsyncioBridge(reactor)
    proxies = event_proxies(reactor, config, counts, bridge)
    key_sets: dict[str, KeySet] = {}
    polling = polling_backends(config, proxies, counts)
    policy = access_policy(
        *(reactor, config), polling=polling, proxies=proxies, key_sets=key_sets
    )
    node = Node(
        *(engine(reactor, config, counts), policy, reactor, node_options(config)),
        *(counts, journal_for(config.log.level, reactor.seconds)),
    )
    diagnostics = Diagnostics(reactor, node) if config.debug.enabled else None
    tracer = tracing(reactor, config, node.id)
    overload = OverloadGuard(reactor, counts, config.overload)
    limiter = connection_limiter(reactor, config, node, overload)
    health = Health(serving=gather is None, overload=overload)
    admin = AdminPage(reactor, config, node)
    served = endpoints(
        *(reactor, config, node, gather, health, admin, limiter),
        tracer if config.opentelemetry.api else None,
        diagnostics,
    )
    for host, port in (inherited or {}).keys() - served.keys():
        raise ConfigError(f"socket from systemd: nothing is served on {host}:{port}")
    server = Server(
        *(reactor, config, node, bridge, served, gather is not None, polling),
        *(health, admin),
        inherited=inherited or {},
        proxies=proxies,
        overload=overload,
        limiter=limiter,
        tracer=tracer,
        key_sets=key_sets,
        diagnostics=diagnostics,
    )
    _add_periodic_services(server, reactor, config)
    return server


def _add_periodic_services(server: "Server", reactor: Any, config: Config) -> None:
    node = server.node
    gc_freezer = GCFreezer(reactor, lambda: node.connections.num_clients)
    MultiService.addService(server, gc_freezer)
    for report in metric_reports(reactor, config, node):
        MultiService.addService(server, report)


make_service = build


@define(eq=False, slots=False)
class Server(MultiService):
    """A node, and the ports that serve it."""

    _reactor: Any
    _config: Config
    node: Node
    _bridge: AsyncioBridge
    _endpoints: "dict[Address, tuple[Endpoints, list[str]]]"
    _shared: bool = False
    _polling: Mapping[str, Polling] = field(factory=dict)
    health: Health = field(factory=Health)
    _admin: AdminPage | None = None
    _inherited: Mapping[Address, int] = field(factory=dict)
    _proxies: EventProxies | None = None
    _overload: OverloadGuard | None = None
    _limiter: ConnectionLimiter | None = None
    _tracer: OpenTelemetry | None = None
    #: Downloaded key sets, by URL.
    _key_sets: dict[str, KeySet] = field(factory=dict)
    _diagnostics: Diagnostics | None = None
    #: Fires when the server is serving; fails if it cannot start.
    started: "Deferred[None]" = field(factory=Deferred, init=False)
    ports: list[IListeningPort] = field(factory=list, init=False)
    _grpc: GRPCPorts = field(init=False)
    _tls: dict[Address, ServerTLS] = field(factory=dict, init=False)
    _expiry: CertificateExpiry = field(init=False)
    _consumers: Consumers = field(init=False)
    _log = Logger()

    @property
    def core(self) -> object:
        """The node, for ``centrifugo_tx.Node.of`` and for resources."""
        return self.node

    def __attrs_post_init__(self) -> None:
        MultiService.__init__(self)
        self._expiry = CertificateExpiry(self._reactor, self._note_expiry)
        self._expiry.watch(own_certificates(self._config))
        MultiService.addService(self, self._expiry)
        traced = self._config.opentelemetry
        self._grpc = GRPCPorts(
            *(self._reactor, self._config, self.node, self._shared),
            *(self._bridge, self._overload),
            self._tracer if traced.api else None,
        )
        self._consumers = Consumers(
            *(self._reactor, self._config, self.node),
            self._tracer if traced.consuming else None,
        )

    def startService(self) -> None:
        """Start the node, then listen."""
        MultiService.startService(self)
        Deferred.fromCoroutine(self._start()).chainDeferred(self.started)

    async def _start(self) -> None:
        await self.node.start()
        if self.running and self._admin is not None:
            self._admin.start()
        if self.running:
            await self._grpc.start()
        if self.running:
            await self._consumers.start()
        if self.running and self._overload is not None:
            self._overload.start()
        self._listen()

    def _listen(self) -> None:
        counts, prometheus = None, self._config.prometheus
        if prometheus.enabled and prometheus.instrument_http_handlers:
            counts = RequestCounts(self.node.metrics)
        http, (outside, _) = self._config.http_server, addresses(self._config)
        for (host, port), (served, names) in self._endpoints.items():
            if not self.running:
                return
            paused = self.node.metrics.counter("node_accept_paused_total")
            settings = ListenerSettings(
                interface=interface_of(host),
                port=port,
                tls=self._tls_of((host, port)),
                http2=not http.http2_disabled,
                h2c=http.h2c_external and (host, port) == outside,
                shared=self._shared,
                inherited=self._inherited.get((host, port)),
                internal=(host, port) != outside,
                access_log=self._config.log.level.lower() in ("debug", "trace"),
                counts=counts,
            )
            listening = listen(self._reactor, served, settings, paused)
            self.ports.append(listening)
            where = f"{host}:{port}"
            what = ", ".join(names)
            self._log.info(
                "serving {what} endpoints on {where}", what=what, where=where
            )

    def stopService(self) -> "Deferred[None]":
        """Stop listening, then disconnect the clients.

        See operations, "Signals and shutdown".
        """
        ending: list[Deferred[Any]] = [
            maybeDeferred(port.stopListening) for port in self.ports
        ]
        self.ports.clear()
        ending.append(Deferred.fromCoroutine(self._disconnect_clients()))
        stopped = gatherResults(ending)
        return stopped.addCallback(lambda _: MultiService.stopService(self))

    async def _disconnect_clients(self) -> None:
        if self._overload is not None:
            self._overload.stop()
        if self._diagnostics is not None:
            self._diagnostics.stop()
        if self._admin is not None:
            self._admin.stop()
        try:
            await self._consumers.stop()
            await self._grpc.stop_api()
            await self.node.stop()
            # TLS batches the writes of a turn.
            await deferLater(self._reactor, 0)
        finally:
            if self._proxies is not None:
                await self._proxies.stop()
            await self._grpc.stop()
            if self._tracer is not None:
                await self._tracer.stop()

    def _tls_of(self, address: Address) -> ServerTLS | None:
        """Return the TLS of a port; `reload` replaces its certificate."""
        context = port_tls(self._config, address)
        if context is None:
            return None
        return self._tls.setdefault(address, ServerTLS(context))

    def _reload_tls(self, config: Config) -> None:
        """Use the certificates and authorities of *config* for new connections."""
        renewed = renewed_ports(self._config, config)
        for address, tls in self._tls.items():
            context = port_tls(renewed, address)
            if context is not None:
                tls.context = context
        self._grpc.reload(renewed)
        before, after = outgoing_tls(self._config), outgoing_tls(config)
        pairs = [(before[path], after[path]) for path in before.keys() & after.keys()]
        for disputed in renew_tls(pairs):
            paths = sorted(path for path, tls in before.items() if tls == disputed)
            self._log.error(
                "certificates of {sections} need a restart: they were the same"
                " at the start",
                sections=", ".join(paths),
            )
        outgoing = {path: tls.cert_pem for path, tls in after.items() if tls.enabled}
        shown = {path: pem for path, pem in outgoing.items() if pem}
        self._expiry.watch({**own_certificates(renewed), **shown})

    def _note_expiry(self, section: str, days: float) -> None:
        gauge = self.node.metrics.counter("tls_certificate_days_left", section=section)
        gauge.value = round(days, 2)

    def confirm_alive(self) -> bool:
        """Return True: this process does its work, since it has come to ask."""
        return True

    def status(self) -> str:
        """Return how many clients are connected."""
        return f"{self.node.connections.num_clients} clients are connected"

    def reload(self, config: Config) -> None:
        """Apply the options that may change at run time.

        See configuration rules, "Reload".
        """
        self._reload_tls(config)
        applied = with_reloaded(self._config, config)
        if self._limiter is not None:
            self._limiter.limit = applied.client.connection_limit
            self._limiter.rate = applied.client.connection_rate_limit
        self._key_sets = {url: keys.reloaded() for url, keys in self._key_sets.items()}
        self.node.policy = access_policy(
            self._reactor,
            applied,
            self._polling,
            self._proxies,
            self._key_sets,
        )
