"""PostgreSQL: the only place that knows SQL.

`transitions` moves jobs, `reads` only looks, `postgres` holds the connections.
"""
