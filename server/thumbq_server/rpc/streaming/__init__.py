"""StreamJobs and EnqueueStream: from the first message of a client to the end of its stream."""
