"""What may be wrong with a machine before anything runs on it, and how fast its parts are."""
