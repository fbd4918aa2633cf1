"""Videos: poses estimated in an environment of their own, and the video with them drawn."""
