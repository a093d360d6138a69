"""One Markdown file per role: its prompt."""
