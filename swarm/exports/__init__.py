"""Trials and kept gains for the tools people already look at: TensorBoard, MLflow, W&B, Optuna's storages."""
