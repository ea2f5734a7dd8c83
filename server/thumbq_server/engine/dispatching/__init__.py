"""The match of jobs and workers: a dispatcher for each set of kinds, and the credits that workers have given."""
