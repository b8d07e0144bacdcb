"""Worker processes: a supervisor, and workers that form one cluster of nodes."""

from .supervisor import Supervisor, check_workers, worker_count

__all__ = ["Supervisor", "check_workers", "worker_count"]
