"""The figures of a run, and the tables and charts made of them."""
