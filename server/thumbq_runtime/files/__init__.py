"""Files and objects: private ones, those that are read and written in threads, and those in an object store."""
