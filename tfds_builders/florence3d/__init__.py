"""Florence 3D."""
