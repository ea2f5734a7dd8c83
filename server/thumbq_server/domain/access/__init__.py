"""Keys, tickets, and the audit."""
