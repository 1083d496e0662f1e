"""Networks for images, and for nodes that lie as the pixels of an image do."""
