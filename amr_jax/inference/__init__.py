"""A trained model as a function, in a file, and for other programs."""
