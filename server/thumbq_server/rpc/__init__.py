"""What callers see: handlers that translate, and nothing else."""
