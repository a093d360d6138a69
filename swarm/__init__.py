"""The swarm: who works, on what, when."""

__version__ = "0.1.0"
