"""hardnet-deploy: from a HarDNet detector's checkpoint to a verified file that still detects the same things."""

__version__ = "0.1.0"
