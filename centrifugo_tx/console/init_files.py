"""The contents of the files of a first server."""

import json
import sys
from pathlib import Path
from typing import Any

from attrs import frozen

from .development_command import random_secret
from .files_command import FOLDER

__all__ = ["CONFIG_PATH", "Answers", "configuration", "nginx_site", "systemd_unit"]

#: Where the unit expects the configuration.
CONFIG_PATH = "/etc/centrifugo/config.json"
#: The folder of the programs in the unit that comes with the server.
_PROGRAMS = "/opt/centrifugo-tx/bin"
#: Folders that ``ProtectHome=yes`` hides.
_HOMES = ("/home/", "/root/", "/run/user/")

_SITE = """\
# Clients of {domain} reach centrifugo-tx through this site.  The server API, the
# metrics and the admin page do not leave this machine.
upstream centrifugo_tx {{
    server 127.0.0.1:8000;
    keepalive 32;
    # Below the 30 s after which the server closes idle connections.
    keepalive_timeout 20s;
}}

# An empty Connection lets connections to the server be used again.
map $http_upgrade $centrifugo_tx_connection {{
    default upgrade;
    ''      '';
}}
{redirect}
server {{
{listen}
    server_name {domain};

    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $centrifugo_tx_connection;
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;

    # Streams: pass everything on at once, and wait longer than client.ping_interval.
    location /connection/ {{
        proxy_pass http://centrifugo_tx;
        proxy_buffering off;
        proxy_read_timeout 60s;
        proxy_send_timeout 60s;
        # Tokens may be in the query.
        access_log off;
    }}

    location = /emulation {{
        proxy_pass http://centrifugo_tx;
    }}

    location / {{
        return 404;
    }}
}}
"""
_REDIRECT = """
server {{
    listen 80;
    listen [::]:80;
    server_name {domain};
    return 301 https://$host$request_uri;
}}
"""
_PLAIN = """\
    # Without TLS, until "certbot --nginx -d {domain}" adds it.
    listen 80;
    listen [::]:80;"""
_TLS = """\
    listen 443 ssl;
    listen [::]:443 ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {certificate_key};
    ssl_protocols TLSv1.2 TLSv1.3;"""


@frozen
class Answers:
    """The answers to the questions of ``init``."""

    domain: str
    origins: list[str]
    #: The URL of a Redis, or empty for the memory engine.
    redis: str
    open_channels: bool
    admin: bool
    certificate: str = ""
    certificate_key: str = ""


def configuration(answers: Answers) -> str:
    """Return the text of a configuration file with fresh secrets."""
    channels = {
        "presence": True,
        "history_size": 100,
        "history_ttl": "5m",
        "force_recovery": True,
    }
    if answers.open_channels:
        channels["allow_subscribe_for_client"] = True
    tree: dict[str, Any] = {
        "http_server": {
            **{"address": "127.0.0.1", "port": 8000},
            **{"internal_address": "127.0.0.1", "internal_port": "9000"},
        },
        "client": {
            "token": {"hmac_secret_key": random_secret(48)},
            "allowed_origins": answers.origins,
        },
        "channel": {"without_namespace": channels},
        "http_stream": {"enabled": True},
        "sse": {"enabled": True},
        "http_api": {"key": random_secret(32)},
        "health": {"enabled": True},
        "prometheus": {"enabled": True},
    }
    if answers.redis:
        tree["engine"] = {"type": "redis", "redis": {"address": [answers.redis]}}
    if answers.admin:
        tree["admin"] = {
            "enabled": True,
            "password": random_secret(18),
            "secret": random_secret(32),
        }
    return json.dumps(tree, indent=2) + "\n"


def systemd_unit() -> str:
    """Return the unit that comes with the server, for the programs of this one."""
    programs = str(Path(sys.prefix) / "bin")
    text = (FOLDER / "centrifugo-tx.service").read_text()
    unit = text.partition("[Unit]")
    settings = "".join(unit[1:]).replace(_PROGRAMS, programs)
    if f"{programs}/".startswith(_HOMES):
        settings = settings.replace("ProtectHome=yes", "ProtectHome=read-only")
    return f"# Put this file into /etc/systemd/system.\n\n{settings}"


def nginx_site(answers: Answers) -> str:
    """Return a file for ``/etc/nginx/conf.d``."""
    listen, redirect = (_TLS, _REDIRECT) if answers.certificate else (_PLAIN, "")
    names = {
        "domain": answers.domain,
        "certificate": answers.certificate,
        "certificate_key": answers.certificate_key,
    }
    return _SITE.format(
        redirect=redirect.format(**names), listen=listen.format(**names), **names
    )
