"""PostgreSQL: the only place that knows SQL, one module an entity."""
