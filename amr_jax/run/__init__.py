"""What any command needs around it; it knows nothing of skeletons."""
