"""What settings may be chosen from: words that help and errors list."""

FEATURES = ("given", "binary", "rows", "standard")
FORMATS = ("png", "pdf", "svg")
OF_NUMBERS = ("mse", "mae", "huber")
LOSSES = ("cross_entropy", "bce", *OF_NUMBERS)
