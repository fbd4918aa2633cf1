"""Raw files to records."""
