"""The embedded PostgreSQL: a private server that lives in a data folder."""
