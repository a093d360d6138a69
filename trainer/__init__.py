"""Runs one trial of one candidate, anywhere, with torch and the standard library alone."""
