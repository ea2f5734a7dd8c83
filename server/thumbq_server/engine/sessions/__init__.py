"""The sessions of workers: one for each stream that is open."""
