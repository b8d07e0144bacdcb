"""The command that writes the files of a first server."""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from attrs import define, frozen

from ..config.check import check
from ..config.load import from_tree
from ..errors import ConfigError
from .init_files import CONFIG_PATH, Answers, configuration, nginx_site, systemd_unit
from .outcome import USAGE, CommandFailed, Refusal

__all__ = ["init"]

_DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_REDIS = ("redis", "rediss", "redis+sentinel", "redis+cluster", "unix")
CONFIG, UNIT, SITE = "config.json", "centrifugo-tx.service", "centrifugo-tx.nginx"
STEPS = """
Wrote {files}.

Then, as root:
  useradd --system --shell /usr/sbin/nologin centrifugo
  install -D -o centrifugo -g centrifugo -m 600 {config} {config_path}
  install -m 644 {unit} /etc/systemd/system/
  systemctl daemon-reload && systemctl enable --now centrifugo-tx
  install -m 644 {site} /etc/nginx/conf.d/centrifugo-tx.conf
  nginx -t && systemctl reload nginx{certbot}

Pages connect to wss://{domain}/connection/websocket
Your backend signs tokens with client.token.hmac_secret_key of {config_path},
and calls http://127.0.0.1:9000/api with http_api.key.{admin}
"""
ADMIN = """
The admin page is http://127.0.0.1:9000/, and its password admin.password."""


@frozen
class Question:
    """One of the questions, which a flag can answer."""

    name: str
    text: str
    default: str
    #: Returns the checked answer; raises `ValueError` with the reason.
    check: Callable[[str], str]


def _domain(text: str) -> str:
    name = text.strip().lower().rstrip(".")
    if len(name) > 253 or not _DOMAIN.fullmatch(name):
        raise ValueError(f"{text!r} is not a host name, such as ws.example.com")
    return name


def _origins(text: str) -> str:
    origins = [each.strip().rstrip("/") for each in text.split(",") if each.strip()]
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or origin != (
            f"{parts.scheme}://{parts.netloc}"
        ):
            raise ValueError(
                f"{origin!r} is not an origin, such as https://example.com"
            )
    if not origins:
        raise ValueError("give at least one origin, such as https://example.com")
    return ",".join(origins)


def _engine(text: str) -> str:
    if text != "memory":
        parts = urlsplit(text)
        place = parts.path if parts.scheme == "unix" else parts.hostname
        _ = parts.port  # raises ValueError if it is no number
        if parts.scheme not in _REDIS or not place:
            raise ValueError(
                f"{text!r} is neither memory nor the URL of a Redis, such as"
                " redis://127.0.0.1:6379"
            )
    return text


def _one_of(*choices: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        found = [each for each in choices if text and each.startswith(text.lower())]
        if len(found) != 1:
            raise ValueError(f"answer {' or '.join(choices)}")
        return found[0]

    return check


QUESTIONS = (
    Question("domain", "Name under which browsers reach the server", "", _domain),
    Question("origins", "Origins of the pages that may connect", "", _origins),
    Question("engine", "Engine: memory, or the URL of a Redis", "memory", _engine),
    Question(
        "channels",
        "Channels: open to every client, or closed but for tokens and your backend",
        "closed",
        _one_of("open", "closed"),
    ),
    Question("admin", "Admin page, on this machine only", "yes", _one_of("yes", "no")),
)


def init(options: argparse.Namespace) -> None:
    """Write a configuration, a systemd unit and an nginx site."""
    if bool(options.certificate) != bool(options.certificate_key):
        raise CommandFailed("give both --certificate and --certificate-key", USAGE)
    folder = Path(options.output)
    targets = [folder / name for name in (CONFIG, UNIT, SITE)]
    taken = [str(path) for path in targets if path.exists()]
    if taken and not options.force:
        raise Refusal(f"error: {', '.join(taken)} exists; overwrite it by --force")
    given = _Questions(options).answers()
    answers = Answers(
        domain=given["domain"],
        origins=given["origins"].split(","),
        redis="" if given["engine"] == "memory" else given["engine"],
        open_channels=given["channels"] == "open",
        admin=given["admin"] == "yes",
        certificate=_absolute(options.certificate),
        certificate_key=_absolute(options.certificate_key),
    )
    texts = (_checked(configuration(answers)), systemd_unit(), nginx_site(answers))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(targets, texts, strict=True):
            _write(path, text, private=path.name == CONFIG)
    except OSError as error:
        raise Refusal(f"error: {error.filename}: {error.strerror}") from None
    print(_steps(answers, targets), end="")


def _checked(text: str) -> str:
    """Return the text of a configuration with which the server would start.

    :raises CommandFailed: an answer is wrong.
    """
    try:
        check(from_tree(json.loads(text), {}).config)
    except ConfigError as error:
        raise CommandFailed(str(error).replace("\n", "; "), USAGE) from None
    return text


def _absolute(path: str) -> str:
    return os.path.abspath(path) if path else ""


def _write(path: Path, text: str, private: bool) -> None:
    """Write a file, with mode 0600 if it has secrets.

    An old file is replaced, not written into, so that the mode is that of a new one.
    """
    path.unlink(missing_ok=True)
    mode = 0o600 if private else 0o644
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(number, "w") as stream:
        stream.write(text)


def _steps(answers: Answers, targets: list[Path]) -> str:
    config, unit, site = map(str, targets)
    certbot = f"\n  certbot --nginx -d {answers.domain}"
    return STEPS.format(
        files=f"{config}, {unit} and {site}",
        config=config,
        unit=unit,
        site=site,
        config_path=CONFIG_PATH,
        certbot="" if answers.certificate else certbot,
        domain=answers.domain,
        admin=ADMIN if answers.admin else "",
    )


@define(eq=False)
class _Questions:
    """Finds the answers in flags, or asks for them on a terminal."""

    _options: argparse.Namespace

    def answers(self) -> dict[str, str]:
        """Return the answers by name.

        :raises CommandFailed: a flag is wrong, or missing without a terminal.
        """
        open_ = [each for each in QUESTIONS if self._flag(each) is None]
        if open_ and not sys.stdin.isatty():
            names = ", ".join(f"--{each.name}" for each in open_)
            raise CommandFailed(
                f"standard input is not a terminal to ask on; also give {names}", USAGE
            )
        found: dict[str, str] = {}
        for question in QUESTIONS:
            flag = self._flag(question)
            if flag is None:
                found[question.name] = self._ask(question, found)
                continue
            try:
                found[question.name] = question.check(flag)
            except ValueError as error:
                raise CommandFailed(f"--{question.name}: {error}", USAGE) from None
        return found

    def _flag(self, question: Question) -> str | None:
        given: str | None = getattr(self._options, question.name)
        return given

    def _ask(self, question: Question, found: dict[str, str]) -> str:
        """Ask until the answer is right."""
        default = question.default
        if question.name == "origins":
            default = f"https://{found['domain'].removeprefix('ws.')}"
        hint = f" [{default}]" if default else ""
        while True:
            try:
                answer = input(f"{question.text}{hint}: ").strip() or default
            except EOFError:
                raise CommandFailed("the input has ended", USAGE) from None
            try:
                return question.check(answer)
            except ValueError as error:
                print(f"  {error}")
