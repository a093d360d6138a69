"""The pages that show the research while it happens and the morning after."""
