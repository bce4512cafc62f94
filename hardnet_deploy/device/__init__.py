"""What runs on the device: one file, which imports nothing of ours and is copied alone."""
