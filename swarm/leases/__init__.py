"""The contended GPUs: who may use which slot, until when, at what cost."""
