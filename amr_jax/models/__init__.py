"""The encoder, the decoders, and classification heads."""
