"""The mathematics: pure functions on clips, patches, masks, targets and weights."""
