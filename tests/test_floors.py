"""The floors of the house: imports go down, never up, and on floor 3 not sideways."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import centrifugo_tx

from .syntax_trees import syntax_tree

PACKAGE = Path(centrifugo_tx.__file__).parent

FLOORS = (
    {"protocol", "grpc", "metrics", "backend"},
    {"interfaces", "options", "errors", "globs", "tls", "typing"}
    | {"bounded_log", "durations", "http_client", "client_tls", "proxy_messages"}
    | {"renewed_tls", "reactors", "messages", "eager_send"}
    | {"interpreter", "resident_memory", "token_signing"},
    {"core"},
    {"engines", "access", "proxies", "transports", "api", "consumers"}
    | {"admin", "debug"},
    {"config", "web"},
    {"service", "workers", "process", "logs", "gc_freeze"}
    | {"client_endpoints", "consumer_services", "grpc_ports", "systemd"}
    | {"admin_page", "socket_activation", "certificate_renewal", "doctor"}
    | {"configured_node", "configured_policy", "configured_ports"}
    | {"graphite", "metric_reports", "proxy_services", "tracing"}
    | {"asgi", "embedding", "testing"},
    {"launch", "cli", "console", "__main__", "__init__"},
)

#: All that the core may use of Twisted.
CORE_MAY_USE = {
    "twisted.internet.defer",
    "twisted.logger",
    "twisted.python.failure.Failure",
    "twisted.internet.interfaces.IReactorTime",
    "twisted.internet.interfaces.IDelayedCall",
}


#: The wings of the core, from the ground; ``session`` and above import all below.
WINGS = ("runtime", "channel", "session", "keyed", "cluster", "node")


def floor_of(part: str) -> int:
    """Return the floor that a module or package of ours stands on."""
    return next(number for number, parts in enumerate(FLOORS) if part in parts)


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a module imports, at any depth."""
    package = ("centrifugo_tx", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*start, *filter(None, [node.module])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


@cache
def modules() -> list[tuple[str, str, set[str]]]:
    """Return each module's path, the part of the house it is in, and its imports."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name.endswith(("_pb2.py", "_pb2_grpc.py")):
            continue
        inside = path.relative_to(PACKAGE)
        part = inside.parts[0].removesuffix(".py")
        found.append((str(inside), part, set(imports(path))))
    return found


def arrows() -> dict[str, set[str]]:
    """Return which modules of ours each module imports, for type checks included."""
    found: dict[str, set[str]] = {}
    for path, _, names in modules():
        name = "centrifugo_tx." + path.removesuffix(".py").replace("/", ".")
        found[name.removesuffix(".__init__")] = names
    return {
        name: {
            module
            for imported in names
            for module in [
                imported if imported in found else imported.rpartition(".")[0]
            ]
            if module in found and module != name
        }
        for name, names in found.items()
    }


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other."""
    reached: dict[str, set[str]] = {}
    for start in arrows:
        seen: set[str] = set()
        left = [start]
        while left:
            for other in arrows[left.pop()]:
                if other not in seen:
                    seen.add(other)
                    left.append(other)
        reached[start] = seen
    groups = {
        tuple(sorted({name, *(x for x in reached[name] if name in reached[x])}))
        for name in arrows
        if name in reached[name]
    }
    return [list(group) for group in sorted(groups)]


def _wing(name: str) -> str:
    """Return the wing of the core that a module is in, empty for none."""
    package, _, rest = name.partition("centrifugo_tx.core.")
    wing = rest.partition(".")[0]
    return wing if not package and wing in WINGS else ""


class FloorTests(SynchronousTestCase):
    """Permitted imports."""

    def broken(self, allowed: str, found: list[str]) -> None:
        """Fail with everything that was found."""
        self.assertEqual(found, [], allowed)

    def test_known(self) -> None:
        """Every module stands on a floor."""
        parts = {part for _, part, _ in modules()}
        self.assertEqual(parts - set().union(*FLOORS), set())

    def test_down(self) -> None:
        """A module imports from lower floors, and from its own part."""
        found = []
        for path, part, names in modules():
            for name in names:
                if not name.startswith("centrifugo_tx."):
                    continue
                other = name.split(".")[1]
                if other == part or part == "__init__":
                    continue
                down = floor_of(other) - floor_of(part)
                if down > 0 or (down == 0 and floor_of(part) in (3, 4)):
                    found.append(f"{path}: {name}")
        self.broken("imports go down", found)

    def test_circles(self) -> None:
        """No modules import each other, directly or by way of others."""
        self.assertEqual(circles(arrows()), [])

    def test_circles_are_found(self) -> None:
        """Circles of any length are found."""
        self.assertEqual(
            circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}), [["a", "b", "c"]]
        )

    def test_wings(self) -> None:
        """Imports inside the core go down, too; the ground imports no wing."""
        found = []
        for name, others in arrows().items():
            wing = _wing(name)
            for other in others:
                above = _wing(other)
                if wing and above and WINGS.index(above) > WINGS.index(wing):
                    found.append(f"{name}: {other}")
                if not wing and above and name.startswith("centrifugo_tx.core."):
                    found.append(f"{name}: {other}")
        self.broken("wings of the core", found)

    def test_protocol(self) -> None:
        """The protocol knows no Twisted."""
        self.broken(
            "no Twisted in the protocol",
            [
                f"{path}: {name}"
                for path, part, names in modules()
                if part == "protocol"
                for name in names
                if name.startswith(("twisted", "zope", "autobahn"))
            ],
        )

    def test_core(self) -> None:
        """The core uses Deferreds, a logger, failures, and a clock it is given."""
        self.broken(
            "little Twisted in the core",
            [
                f"{path}: {name}"
                for path, part, names in modules()
                if part == "core"
                for name in names
                if name.startswith(("twisted", "autobahn"))
                and not any(
                    name == allowed or name.startswith(f"{allowed}.")
                    for allowed in CORE_MAY_USE
                )
            ],
        )

    def test_reactor(self) -> None:
        """Only the process entry imports the reactor, or finds it for applications."""
        self.broken(
            "no reactor",
            [
                path
                for path, part, names in modules()
                if "twisted.internet.reactor" in names
                and part not in ("launch", "console", "reactors")
                and path != "workers/__main__.py"
            ],
        )

    def test_txredisapi(self) -> None:
        """Only the Redis engine knows txredisapi, which imports the reactor."""
        self.broken(
            "no txredisapi",
            [
                path
                for path, _, names in modules()
                if any(name.split(".")[0] == "txredisapi" for name in names)
                and not path.startswith("engines/redis/")
            ],
        )

    def test_environment(self) -> None:
        """Floors 0 to 3 read no environment: options come through constructors."""
        self.broken(
            "no environment",
            [
                str(path.relative_to(PACKAGE))
                for path in sorted(PACKAGE.glob("*/**/*.py"))
                if floor_of(path.relative_to(PACKAGE).parts[0]) < 4
                for node in ast.walk(syntax_tree(path))
                if isinstance(node, ast.Attribute)
                and node.attr in ("environ", "getenv", "environb")
            ],
        )
