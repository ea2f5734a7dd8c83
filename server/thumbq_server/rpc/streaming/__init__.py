"""StreamJobs: from the first message of a worker to the end of its stream."""
