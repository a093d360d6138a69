"""The shared research notebook: an append-only log, and two indexes of it that can be rebuilt from it."""
