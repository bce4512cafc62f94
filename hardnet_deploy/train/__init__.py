"""Training SSD-HarDNet detectors with their authors' recipe."""
