"""Scenes the project draws itself: a labelled data set that needs no download and has no licence to read."""
