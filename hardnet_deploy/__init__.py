"""hardnet-deploy: from a HarDNet detector's checkpoint to a verified, fast engine."""

__version__ = "0.1.0"
