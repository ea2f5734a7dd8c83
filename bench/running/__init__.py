"""The processes of a run: PostgreSQL, thumbq's servers and gateways, and every other program."""
