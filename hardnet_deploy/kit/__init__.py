"""The folder for a device, and what comes back from it."""
