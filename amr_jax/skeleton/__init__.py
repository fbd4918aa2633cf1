"""Joints, bones, body parts and class names of every layout and data set."""
