"""How many jobs each caller has in flight, and the bound of that."""
