"""Runs trials on clusters that SkyPilot starts: clouds, Kubernetes, Slurm."""
