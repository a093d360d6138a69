"""The specialists, who speak only through the notebook."""
