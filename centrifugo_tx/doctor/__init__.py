"""Examines the machine, Redis and the running server, and names remedies.

One module for each check; `examination` puts them in order.
"""

from .examination import Examination
from .findings import Finding, Level, exit_code, worst
from .target import site_of

__all__ = ["Examination", "Finding", "Level", "exit_code", "site_of", "worst"]
