"""`thumbq enqueue`: single jobs, and lists of them."""
