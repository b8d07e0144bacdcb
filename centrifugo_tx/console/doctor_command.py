"""The command that examines the machine, Redis and the running server."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..config.check import problems, warnings
from ..config.load import Loaded
from ..config.unsupported import ignored, refused
from ..doctor import Examination, Finding, Level, exit_code, site_of, worst
from ..errors import ConfigError
from ..workers import check_workers
from .configuration import loaded
from .outcome import USAGE, CommandFailed, Refusal
from .server_address import set_or
from .server_arguments import CA, TOKEN
from .terminal import Style, printable, style_for

__all__ = ["doctor", "lines_of"]

_CHECK = "configuration"


def doctor(options: argparse.Namespace) -> int:
    """Print what is found; return the exit code."""
    findings: list[Finding] = []
    style = style_for()

    def report(finding: Finding) -> None:
        findings.append(finding)
        if not options.json:
            print("\n".join(lines_of(finding, style)), flush=True)

    try:
        read = loaded(options.config)
    except Refusal as error:
        report(Finding(_CHECK, Level.PROBLEM, str(error), "correct the file"))
    else:
        for finding in _configuration(read):
            report(finding)
        if worst(findings) is not Level.PROBLEM:
            _examine(options, read, report)
    level = worst(findings)
    if options.json:
        found = [
            {
                "check": each.check,
                "level": each.level,
                "message": each.message,
                "remedy": each.remedy,
            }
            for each in findings
        ]
        print(json.dumps({"level": level, "findings": found}))
    else:
        print(", ".join(_counts(findings)))
    return exit_code(findings, options.strict)


def lines_of(finding: Finding, style: Style) -> list[str]:
    """Return the line of a finding, and that of its remedy if it has one."""
    color = {
        Level.OK: style.green,
        Level.WARNING: style.cyan,
        Level.PROBLEM: style.red,
    }[finding.level]
    level = color(f"{finding.level:<8}")
    lines = [f"{level} {finding.check}: {printable(finding.message)}"]
    if finding.remedy:
        lines.append(f"         remedy: {printable(finding.remedy)}")
    return lines


def _counts(findings: list[Finding]) -> Iterator[str]:
    for level in reversed(Level):
        number = sum(each.level is level for each in findings)
        plural = "s" if number != 1 and level is not Level.OK else ""
        yield f"{number} {level}{plural}"


def _configuration(read: Loaded) -> list[Finding]:
    """Return what the configuration alone shows."""
    config = read.config
    found = [
        Finding(_CHECK, Level.PROBLEM, line, "the server does not start with it")
        for line in problems(config) + refused(config)
    ]
    if found:
        return found
    found = [
        Finding(_CHECK, Level.PROBLEM, line, "the server does not start with it")
        for line in check_workers(config)
    ]
    remedy = "see docs/configuration"
    for line in (*read.renamed, *read.converted, *ignored(config), *warnings(config)):
        found.append(Finding(_CHECK, Level.WARNING, line, remedy))
    for key in read.unknown_keys:
        line = f"unknown key {key}"
        found.append(Finding(_CHECK, Level.WARNING, line, "correct or remove it"))
    if not read.found:
        line = f"{read.path} does not exist; defaults and environment variables count"
        remedy = "give --config the file that the server reads"
        return [*found, Finding(_CHECK, Level.WARNING, line, remedy)]
    return found or [Finding(_CHECK, Level.OK, f"{read.path} is valid")]


def _examine(options: argparse.Namespace, read: Loaded, report: Any) -> None:
    """Run the reactor until everything has been reported.

    :raises CommandFailed: the command line cannot be used.
    """
    from twisted.internet import reactor

    try:
        ca = set_or(options.ca, CA)
        site = site_of(options.url, read.config, ca, options.timeout)
    except ConfigError as error:
        raise CommandFailed(str(error), USAGE) from None
    examination = Examination(
        *(reactor, read.config, site, set_or(options.token, TOKEN)),
        *(options.origin, options.slow),
    )
    failures: list[Failure] = []

    def run() -> None:
        running = Deferred.fromCoroutine(examination.run(report))
        running.addErrback(failures.append)
        running.addCallback(lambda _: reactor.stop() if reactor.running else None)

    reactor.callWhenRunning(run)
    reactor.run()
    if failures:
        failures[0].raiseException()
    sys.stdout.flush()
