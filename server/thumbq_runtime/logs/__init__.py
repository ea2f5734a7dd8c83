"""What programs log, where, and in which form."""
