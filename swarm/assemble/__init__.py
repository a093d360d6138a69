"""The only place that names adapters: which executor, notebook, library, kernel and agents a session works with."""
