"""Sessions on simulated time, and strategies side by side."""
