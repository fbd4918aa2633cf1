"""PKU-MMD, phases I and II."""
