"""Studies: each measures one thing that `make bench` does not, by its own command."""
