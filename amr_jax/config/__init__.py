"""Every setting: its default, its bounds and one line of help."""
