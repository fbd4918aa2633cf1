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


def tiny(config_of):
    """`full_size.config_of` with SMALL before the caller's own overrides."""

    def small(row, batch_size, dtype, attention, overrides=(), **keys):
        return config_of(row, batch_size, dtype, attention, (*SMALL, *overrides), **keys)

    return small
