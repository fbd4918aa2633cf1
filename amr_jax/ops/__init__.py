"""The mathematics: pure functions on clips, masks, targets and weights."""
