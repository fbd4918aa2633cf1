"""From raw files to records, and from records to batches on the devices."""
