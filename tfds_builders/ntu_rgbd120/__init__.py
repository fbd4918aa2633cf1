"""NTU RGB+D 120."""
