"""The rules of jobs. They depend neither on callers nor on how jobs are stored."""
