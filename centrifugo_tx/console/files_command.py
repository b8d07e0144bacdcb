"""The files for deployment that come with the server."""

import argparse
from pathlib import Path
from shutil import copyfile

from .outcome import Refusal

__all__ = ["DESCRIPTIONS", "FOLDER", "list_files"]

#: The folder with the files, in the installed package.
FOLDER = Path(__file__).parents[1] / "files"

DESCRIPTIONS = {
    "centrifugo-tx.service": "unit for systemd",
    "centrifugo-tx.socket": "unit for systemd that keeps the port open",
    "nginx.conf": "nginx in front of several nodes, with TLS",
    "haproxy.cfg": "HAProxy in front of several nodes, with TLS",
    "Caddyfile": "Caddy in front of several nodes, with TLS",
    "centrifugo-tx.sysctl.conf": "limits of the kernel for many connections",
    "prometheus-alerts.yml": "alerting rules for Prometheus",
    "grafana-dashboard.json": "dashboard for Grafana",
    "minimal.json": "smallest configuration",
    "redis.json": "configuration of nodes that share a Redis",
    "development.json": "configuration in which every client may do everything",
}


def list_files(options: argparse.Namespace) -> None:
    """List the files, print the path of one, or copy them."""
    if options.name and options.name not in DESCRIPTIONS:
        raise Refusal(
            f"error: no file {options.name}; there are {', '.join(DESCRIPTIONS)}"
        )
    if options.copy:
        names = [options.name] if options.name else list(DESCRIPTIONS)
        _copy(names, Path(options.copy), options.force)
    elif options.name:
        print(FOLDER / options.name)
    else:
        width = max(map(len, DESCRIPTIONS))
        for name, description in DESCRIPTIONS.items():
            print(f"{name:{width}}  {description}")


def _copy(names: list[str], folder: Path, force: bool) -> None:
    """Copy files, all or none.

    :raises Refusal: one of them exists, or cannot be written.
    """
    targets = [folder / name for name in names]
    taken = [str(path) for path in targets if path.exists()]
    if taken and not force:
        raise Refusal(f"error: {', '.join(taken)} exists; overwrite it by --force")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in zip(names, targets, strict=True):
            copyfile(FOLDER / name, path)
            print(path)
    except OSError as error:
        raise Refusal(f"error: {error.filename}: {error.strerror}") from None
