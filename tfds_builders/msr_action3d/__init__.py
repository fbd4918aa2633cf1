"""MSR-Action3D."""
