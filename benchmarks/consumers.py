"""python -m benchmarks.consumers: the outbox, next to a bare psycopg reader.

Both read the same rows of one PostgreSQL server, alternately in one run, in the same
transactions: lock the partition, select 100 rows in order, delete them, commit.  The
reader does nothing else; the server decodes each row and publishes it into a channel
with history.  All processes run on the last core, except for PostgreSQL, which may use
all cores.
"""

import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from statistics import median

import psycopg

from tests.integration.postgres import PostgreSQL
from tests.integration.server import Server

#: Rows per batch, the default of the server.
LIMIT = 100
_FILL = """
INSERT INTO outbox (method, payload)
SELECT 'publish', jsonb_build_object(
    'channel', 'c' || n % 100,
    'data', jsonb_build_object('n', n, 'text', repeat('x', 100))
)
FROM generate_series(1, {rows}) n
"""


def bare(dsn: str) -> None:
    """Read and delete all rows, and discard them."""
    with psycopg.connect(dsn) as connection:
        while True:
            connection.execute("SELECT pg_advisory_xact_lock(1)")
            rows = connection.execute(
                "SELECT id, method, payload::text FROM outbox"
                " WHERE partition = 0 ORDER BY id LIMIT %s",
                [LIMIT],
            ).fetchall()
            ids = [row[0] for row in rows]
            connection.execute("DELETE FROM outbox WHERE id = ANY(%s)", [ids])
            connection.commit()
            if len(rows) < LIMIT:
                return


def emptied(dsn: str) -> float:
    """Return the time at which the table is found empty."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        while connection.execute("SELECT 1 FROM outbox LIMIT 1").fetchone():
            time.sleep(0.005)
    return time.perf_counter()


def cpu(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, and print figures and ratios."""
    parser = ArgumentParser(prog="python -m benchmarks.consumers")
    parser.add_argument("--rounds", type=int, default=7, help="default: 7")
    parser.add_argument("--rows", type=int, default=20000, help="default: 20000")
    parser.add_argument("--bare", help="used by the benchmark itself: a DSN")
    asked = parser.parse_args()
    if asked.bare:
        bare(asked.bare)
        return
    postgresql = PostgreSQL({"max_wal_size": "2GB"}).start()
    postgresql.outbox("outbox")
    cores = sorted(os.sched_getaffinity(0))
    consumer = {
        "name": "outbox",
        "enabled": True,
        "type": "postgresql",
        "postgresql": {
            "dsn": postgresql.dsn,
            "outbox_table_name": "outbox",
            "partition_notification_channel": "outbox",
        },
    }
    history = {"history_size": 10, "history_ttl": "1h"}
    options = {"consumers": [consumer], "channel": {"without_namespace": history}}
    server = Server(options).start()
    os.sched_setaffinity(server.pid, cores[-1:])
    speeds: dict[str, list[float]] = {"centrifugo-tx": [], "bare psycopg": []}
    costs: dict[str, list[float]] = {name: [] for name in speeds}
    try:
        for turn in range(asked.rounds + 1):
            for name in speeds:
                speed, cost = one(name, server, postgresql, asked.rows, cores[-1])
                if turn:
                    speeds[name].append(speed)
                    costs[name].append(cost)
    finally:
        server.close()
        postgresql.stop()
    print(f"{asked.rows} rows, {asked.rounds} rounds, medians")
    for name in speeds:
        rate, cost = median(speeds[name]), median(costs[name])
        print(f"  {name:<14} {rate:>9,.0f} rows per second  {cost:>6.1f} µs CPU a row")
    pairs = list(zip(*speeds.values(), strict=True))
    ratio = median(own / other for own, other in pairs)
    print(
        f"  rows per second, centrifugo-tx / bare psycopg: {ratio:.2f} (at least 0.5)"
    )


def one(
    name: str, server: Server, postgresql: PostgreSQL, rows: int, core: int
) -> tuple[float, float]:
    """Return rows per second, and the CPU time of each row in microseconds."""
    postgresql.execute("TRUNCATE outbox")
    fill = _FILL.format(rows=rows)
    if name == "bare psycopg":
        server.signal(signal.SIGSTOP)
        postgresql.execute(fill, "ANALYZE outbox")
        program = [sys.executable, "-m", "benchmarks.consumers", "--bare"]
        ready = time.perf_counter()
        process = subprocess.Popen([*program, postgresql.dsn])
        os.sched_setaffinity(process.pid, {core})
        _, _, used = os.wait4(process.pid, 0)
        seconds, busy = time.perf_counter() - ready, used.ru_utime + used.ru_stime
        # The start of Python is not part of reading.
        ready = time.perf_counter()
        process = subprocess.Popen([*program, postgresql.dsn])
        os.sched_setaffinity(process.pid, {core})
        _, _, used = os.wait4(process.pid, 0)
        seconds -= time.perf_counter() - ready
        busy -= used.ru_utime + used.ru_stime
        server.signal(signal.SIGCONT)
        return rows / seconds, busy / rows * 1e6
    before = cpu(server.pid)
    postgresql.execute(f"BEGIN; {fill}; NOTIFY outbox, '0'; COMMIT")
    began = time.perf_counter()
    seconds = emptied(postgresql.dsn) - began
    return rows / seconds, (cpu(server.pid) - before) / rows * 1e6


if __name__ == "__main__":
    main()
