"""The console script: everything around the server (operations, "Console commands").

Without a command it runs the server, by way of ``twistd``.
"""

import argparse
import base64
import json
import os
import secrets
import sys
import time
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import jwt
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from .access import TokenOptions, TokenVerifier
from .config.check import check, problems, scope_warnings
from .config.dump import FORMATS, as_text, as_tree, as_variables
from .config.load import Loaded, load
from .config.model import Config
from .config.pending import ignored, refused
from .config.reference import markdown, restructured
from .config.values import format_duration
from .errors import CentrifugoError, ConfigError
from .service import token_verifier
from .workers import check_workers

__all__ = ["main"]

#: Bytes of a key that is safe with HS256 (RFC 7518, 3.2).
KEY_BYTES = 32

#: Origins of the pages that a developer opens first.
PAGES = ("http://localhost:*", "http://127.0.0.1:*")


class Refusal(CentrifugoError):
    """A command cannot be carried out; says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        return _run_server(given)
    options = _parser().parse_args(given)
    try:
        options.command(options)
    except (Refusal, ConfigError) as error:
        print(error)
        return 1
    return 0


def _run_server(arguments: list[str]) -> int:
    from twisted.scripts import twistd

    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "centrifugo", *arguments]
    twistd.run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="centrifugo-tx",
        description="Without a command: run the server"
        " (its flags: twistd centrifugo --help).",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, function: Any) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=_first_line(function))
        command.set_defaults(command=function)
        return command

    def add_config(command: argparse.ArgumentParser) -> None:
        command.add_argument("-c", "--config", default="config.json", metavar="FILE")

    add("version", _version)
    add_config(add("genconfig", _genconfig))
    command = add("checkconfig", _checkconfig)
    add_config(command)
    command.add_argument("-s", "--strict", action="store_true")
    for function in (_gentoken, _gensubtoken):
        command = add(function.__name__[1:], function)
        add_config(command)
        command.add_argument("-u", "--user", default="", metavar="ID")
        command.add_argument("-t", "--ttl", type=int, default=604800, metavar="SECONDS")
        command.add_argument("-q", "--quiet", action="store_true")
        if function is _gensubtoken:
            command.add_argument("-s", "--channel", default="", metavar="NAME")
    for name, function in (
        ("checktoken", _checktoken),
        ("checksubtoken", _checksubtoken),
    ):
        command = add(name, function)
        add_config(command)
        command.add_argument("token", nargs="*", metavar="TOKEN")
    command = add("serve", _serve)
    command.add_argument("-d", "--dir", default="./", metavar="FOLDER")
    command.add_argument("-p", "--port", type=int, default=3000)
    command.add_argument("-a", "--address", default="")
    command = add("defaultconfig", _defaultconfig)
    add_config(command)
    command.add_argument("-b", "--base", default="", metavar="FILE")
    command.add_argument("-d", "--dry-run", action="store_true")
    command = add("defaultenv", _defaultenv)
    command.add_argument("-b", "--base", default="", metavar="FILE")
    command.add_argument("--base-non-zero-only", action="store_true")
    command = add("configdoc", _configdoc)
    command.add_argument("-m", "--markdown", action="store_true")
    command.add_argument("-s", "--section", default="", metavar="NAME")
    command.add_argument("-l", "--base-level", type=int, default=1, metavar="LEVEL")
    add("help", lambda options: parser.print_help())
    return parser


def _first_line(function: Any) -> str:
    doc = function.__doc__ or "Print this help."
    return str(doc.partition("\n")[0].rstrip("."))


def _version(options: argparse.Namespace) -> None:
    """Print the version."""
    print(f"centrifugo-tx v{version('centrifugo-tx')} (Python {python_version()})")


def _load(path: str) -> Loaded:
    try:
        return load(path, os.environ)
    except ConfigError as error:
        raise Refusal(f"error getting config: {error}") from None


def _checked(path: str) -> Config:
    config = _load(path).config
    try:
        check(config)
    except ConfigError as error:
        raise Refusal(f"error: {error}") from None
    return config


def _genconfig(options: argparse.Namespace) -> None:
    """Write a minimal configuration file with fresh secrets."""
    extension = _extension(options.config)
    tree = {
        "client": {
            "token": {"hmac_secret_key": _secret(64)},
            "allowed_origins": [*PAGES],
        },
        "admin": {"enabled": False, "password": _secret(16), "secret": _secret(64)},
        "http_api": {"key": _secret(64)},
    }
    taken = f"error: output config file already exists: {options.config}"
    _write(options.config, as_text(tree, extension), taken)
    try:
        _checked(options.config)
    except Refusal:
        Path(options.config).unlink()
        raise
    print(
        f"{options.config}: pages of {' and '.join(PAGES)} may connect; add the origins"
        " of your own pages to client.allowed_origins"
    )


def _secret(size: int) -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(size)).decode().rstrip("=")


def _extension(path: str) -> str:
    extension = Path(path).suffix.lower()
    if extension not in FORMATS:
        names = ", ".join(name[1:] for name in FORMATS)
        raise Refusal(
            f"error: output config file must have one of supported extensions: {names}"
        )
    return extension


def _write(path: str, text: str, taken: str) -> None:
    """Write a new file that only its owner may read."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refusal(taken) from None
    except OSError as error:
        raise Refusal(f"error: {path}: {error.strerror}") from None
    with open(number, "w") as stream:
        stream.write(text)


def _checkconfig(options: argparse.Namespace) -> None:
    """Check a configuration file."""
    loaded = _load(options.config)
    if not loaded.found:
        raise Refusal("config file not found")
    found = problems(loaded.config) + refused(loaded.config)
    found = found or check_workers(loaded.config)
    if found:
        raise Refusal("error validating config: " + "\n".join(found))
    if options.strict and loaded.unknown_keys:
        raise Refusal("unknown keys in config: " + ", ".join(loaded.unknown_keys))
    config = loaded.config
    lines = [*loaded.renamed, *loaded.converted, *ignored(config)]
    for line in (*lines, *scope_warnings(config)):
        print(f"warning: {line}", file=sys.stderr)


def _gentoken(options: argparse.Namespace) -> None:
    """Print a connection token."""
    token = _load(options.config).config.client.token
    _print_token(options, token, "client.token", _whose(options.user), {})


def _gensubtoken(options: argparse.Namespace) -> None:
    """Print a subscription token."""
    if not options.channel:
        raise Refusal("channel is required")
    client = _load(options.config).config.client
    separate = client.subscription_token.enabled
    token = client.subscription_token if separate else client.token
    path = "client.subscription_token" if separate else "client.token"
    whose = f"{_whose(options.user)} and channel {json.dumps(options.channel)}"
    _print_token(options, token, path, whose, {"channel": options.channel})


def _whose(user: str) -> str:
    return f"user {json.dumps(user, ensure_ascii=False)}" if user else "anonymous user"


def _print_token(
    options: argparse.Namespace,
    token: TokenOptions,
    path: str,
    whose: str,
    extra: dict[str, Any],
) -> None:
    if not token.hmac_secret_key:
        raise Refusal(
            f"error: {path}.hmac_secret_key is not set, and this command can only"
            " generate tokens signed with it"
        )
    now = int(time.time())
    claims: dict[str, Any] = {"sub": options.user} if options.user else {}
    if options.ttl > 0:
        claims["exp"] = now + options.ttl
    claims |= {"iat": now, **extra}
    if token.user_id_claim:
        claims[token.user_id_claim] = options.user
    signed = _signed(claims, token.hmac_secret_key, f"{path}.hmac_secret_key")
    if options.quiet:
        print(signed, end="")
        return
    expiry = "without expiration"
    if options.ttl >= 0:
        expiry = f"with expiration TTL {format_duration(options.ttl)}"
    print(f"HMAC SHA-256 JWT for {whose} {expiry}:\n{signed}")


def _signed(claims: dict[str, Any], key: str, path: str) -> str:
    """Return a token; say on standard error if the key is easily guessed."""
    size = len(key.encode())
    if size < KEY_BYTES:
        said = f"{path} has {size} bytes; use at least {KEY_BYTES}"
        print(f"warning: {said} (RFC 7518, 3.2)", file=sys.stderr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer PyJWT says the same at length
        return jwt.encode(claims, key, algorithm="HS256")


def _checktoken(options: argparse.Namespace) -> None:
    """Check a connection token."""
    token = _one_token(options, "checktoken")
    verifier = _verifier(_checked(options.config).client.token)
    claims = _verified(verifier.connection(token), token)
    who = f"user {claims.sub}" if claims.sub else "anonymous user"
    print(f"valid token for {who}\npayload: {_parts(token)[1]}")


def _checksubtoken(options: argparse.Namespace) -> None:
    """Check a subscription token."""
    token = _one_token(options, "checksubtoken")
    client = _checked(options.config).client
    separate = client.subscription_token.enabled
    options_of = client.subscription_token if separate else client.token
    claims = _verified(_verifier(options_of).subscription(token), token)
    whose = f"{_whose(claims.sub)} and channel {json.dumps(claims.channel)}"
    print(f"valid subscription token for {whose}\npayload: {_parts(token)[1]}")


def _one_token(options: argparse.Namespace, command: str) -> str:
    if len(options.token) != 1:
        raise Refusal(
            f"error: provide token to check [centrifugo-tx {command} <TOKEN>]"
        )
    return str(options.token[0])


def _verifier(options: TokenOptions) -> TokenVerifier:
    from twisted.internet import reactor

    return token_verifier(reactor, options)


def _verified(verified: "Deferred[Any]", token: str) -> Any:
    """Wait for the verifier, which may have to fetch keys."""
    from twisted.internet import reactor

    outcome: list[Any] = []
    verified.addBoth(outcome.append)
    if not outcome:
        verified.addBoth(lambda _: reactor.stop())
        reactor.run()
    if not isinstance(outcome[0], Failure):
        return outcome[0]
    why = outcome[0].getErrorMessage()
    algorithm, claims = _parts(token)
    if algorithm:
        why = f"token with algorithm {algorithm} and claims {claims} has error: {why}"
    raise Refusal(f"error: {why}")


def _parts(token: str) -> tuple[str, str]:
    """Return the algorithm and the claims of a token, empty if it is none."""
    try:
        header, claims = (
            base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
            for part in token.split(".")[:2]
        )
        return str(json.loads(header)["alg"]), claims
    except (ValueError, KeyError, TypeError):
        return "", ""


def _serve(options: argparse.Namespace) -> None:
    """Serve the files of a folder, for development."""
    from twisted.internet import reactor
    from twisted.web.server import Site
    from twisted.web.static import File

    port: Any = reactor.listenTCP(
        options.port, Site(File(options.dir)), interface=options.address
    )
    where = f"{options.address}:{port.getHost().port}"
    print(f"start serving {options.dir} on {where}", flush=True)
    reactor.run()


def _defaultconfig(options: argparse.Namespace) -> None:
    """Write a configuration file with all options."""
    extension = _extension(options.config)
    text = as_text(as_tree(_checked(options.base)), extension)
    if options.dry_run:
        print(text, end="")
        return
    _write(options.config, text, "error: target file already exists")


def _defaultenv(options: argparse.Namespace) -> None:
    """Print all options as environment variables."""
    for name, value, is_set in sorted(as_variables(_checked(options.base))):
        if is_set or not options.base_non_zero_only:
            print(f"{name}={value}")


def _configdoc(options: argparse.Namespace) -> None:
    """Print what all options mean."""
    if not options.markdown:
        if options.section or options.base_level != 1:
            raise Refusal("error: --section and --base-level require --markdown")
        print(restructured(), end="")
        return
    try:
        print(markdown(options.section, options.base_level), end="")
    except KeyError:
        raise Refusal(f"error: no section {options.section}") from None
