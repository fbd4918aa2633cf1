"""Trained models applied to new sequences: loading, reading inputs, predicting, exporting."""
