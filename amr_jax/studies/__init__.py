"""Methods beside each other: costs, comparisons and their tables."""
