"""`thumbq worker`: the reference worker, its options, and where its pictures go."""
