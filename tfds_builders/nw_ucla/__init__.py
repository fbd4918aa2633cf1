"""Northwestern-UCLA."""
