"""Files over HTTP: thumbnails, models, and the pictures that workers bring."""
