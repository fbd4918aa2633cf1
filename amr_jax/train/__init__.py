"""The training step, the loop around it, and the optimiser."""
