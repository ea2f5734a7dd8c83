"""The jobs that a worker holds, and how its handlers run."""
