"""UTD-MHAD."""
