"""Runs of other tools, read and written: MLflow, TensorBoard, trackio, Weights & Biases."""
