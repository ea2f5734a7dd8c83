"""What callers are told while a server has no database."""

DATABASE_AWAY = "The queue's database is away; try again shortly."
