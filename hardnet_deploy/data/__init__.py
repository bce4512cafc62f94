"""Images: read, brought into the network's form, and drawn with what was found in them."""
