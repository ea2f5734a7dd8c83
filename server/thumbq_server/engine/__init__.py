"""What runs: batches, the match of workers and jobs, the clock of duties, and the tail of the log."""
