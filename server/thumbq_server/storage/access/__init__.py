"""Keys, the keys that sign tickets, and the audit."""
