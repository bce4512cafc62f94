"""Building engines: one module for each kind."""
