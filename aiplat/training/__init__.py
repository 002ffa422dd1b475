"""The training loop behind the Worker seam, and what it keeps so that a run survives. No Ray."""
