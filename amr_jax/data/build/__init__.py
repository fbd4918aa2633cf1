"""From raw files to ArrayRecord shards: parsing, the TFDS builders' common base, verification."""
