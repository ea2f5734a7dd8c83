"""The running queue: batches, the match of workers and jobs, sessions, the clock of duties, the tail of the log."""
