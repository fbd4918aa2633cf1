"""KARD."""
