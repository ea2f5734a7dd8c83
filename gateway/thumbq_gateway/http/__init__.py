"""Plain HTTP: errors, CORS, health, and the files that the gateway serves."""
