"""Networks that say themselves how they learn from images: the classics, as tasks and runs call them."""
