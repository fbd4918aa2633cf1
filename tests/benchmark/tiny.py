"""Overrides that make the full-size configs small enough to compile in a second."""

SMALL = (
    "encoder.num_frames=24",
    "encoder.width=8",
    "encoder.depth=1",
    "encoder.num_heads=1",
    "model.decoder_width=8",
    "model.decoder_depth=1",
    "model.decoder_heads=1",
)
