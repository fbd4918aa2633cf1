"""NTU RGB+D (60 actions)."""
