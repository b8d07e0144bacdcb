"""All cores of one machine: a parent, and workers that are nodes of one cluster."""

from .supervisor import Supervisor, check_workers, worker_count

__all__ = ["Supervisor", "check_workers", "worker_count"]
