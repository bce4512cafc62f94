"""Judging what an engine detects: post-processing, and what is measured on its result."""
