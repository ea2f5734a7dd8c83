"""How often a caller may call, and how many connections it may have."""
