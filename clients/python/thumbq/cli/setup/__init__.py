"""What a machine needs to run thumbq: its programs, its database, certificates, and a look at all of it."""
