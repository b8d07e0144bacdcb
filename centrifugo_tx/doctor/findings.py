"""The results of checks: one line each, and a remedy."""

from collections.abc import Iterable
from enum import StrEnum

from attrs import frozen

__all__ = ["Finding", "Level", "exit_code", "ok", "problem", "warning", "worst"]


class Level(StrEnum):
    """How bad it is; in this order."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@frozen
class Finding:
    """The result of one check; ``remedy`` is empty for `Level.OK`."""

    check: str
    level: Level
    message: str
    remedy: str = ""


def ok(check: str, message: str) -> Finding:
    """Return a finding about something that is right."""
    return Finding(check, Level.OK, message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """Return a finding about something that an operator should look at."""
    return Finding(check, Level.WARNING, message, remedy)


def problem(check: str, message: str, remedy: str) -> Finding:
    """Return a finding about something that keeps clients or messages out."""
    return Finding(check, Level.PROBLEM, message, remedy)


def worst(findings: Iterable[Finding]) -> Level:
    """Return the highest level that occurs."""
    order = list(Level)
    return max((each.level for each in findings), key=order.index, default=Level.OK)


def exit_code(findings: Iterable[Finding], strict: bool) -> int:
    """Return 2 if there is a problem, 1 for warnings if *strict*, else 0."""
    level = worst(findings)
    if level is Level.PROBLEM:
        return 2
    return 1 if strict and level is Level.WARNING else 0
