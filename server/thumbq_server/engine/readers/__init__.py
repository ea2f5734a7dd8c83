"""For those that look and follow: the tail of the log, cursors, jobs and thumbnails, snapshots of the queue."""
