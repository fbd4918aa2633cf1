"""Encoder, decoders, and what they are made of."""
