"""The parent of `thumbq serve`: keeps a PostgreSQL, servers and gateways running."""
