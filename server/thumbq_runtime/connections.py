"""How many connections the servers open to PostgreSQL: the launcher grants them, and each server checks for them."""

# One server: its pool, its lanes and its listener. A test counts them.
POOL_SIZE = 4
LANES = 7
_LISTENER = 1
PER_SERVER = POOL_SIZE + LANES + _LISTENER
# With a single connection in the pool, a long duty would keep all who read waiting.
FEWEST_PER_SERVER = 2 + LANES + _LISTENER
MOST_PER_SERVER = 200
# For operators, backups, and the checks and migrations of servers that start.
SPARE = 10


def pool_size(each: int) -> int:
    """Return how large the pool of a server is that opens `each` connections at most."""
    return each - LANES - _LISTENER


def connections_needed(processes: int, each: int = PER_SERVER) -> int:
    """Return the connections that this many servers open at most."""
    return processes * each


def connections_granted(processes: int, each: int = PER_SERVER) -> int:
    """Return the `max_connections` of a PostgreSQL that serves this many servers and nothing else."""
    return max(100, connections_needed(processes, each) + SPARE)
