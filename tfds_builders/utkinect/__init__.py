"""UTKinect."""
