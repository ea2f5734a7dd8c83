"""How many connections the servers open to PostgreSQL: the launcher grants them, and each server checks for them."""

# One server: its pool, its lanes and its listener. A test counts them.
POOL_SIZE = 4
LANES = 7
PER_SERVER = POOL_SIZE + LANES + 1
# For operators, backups, and the checks and migrations of servers that start.
SPARE = 10


def connections_needed(processes: int) -> int:
    """Return the connections that as many servers open at most."""
    return processes * PER_SERVER


def connections_granted(processes: int) -> int:
    """Return the `max_connections` of a PostgreSQL that serves as many servers and nothing else."""
    return max(100, connections_needed(processes) + SPARE)
