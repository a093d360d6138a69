"""A library of papers: formats, text extraction, passages that keep their page, and search over them."""
