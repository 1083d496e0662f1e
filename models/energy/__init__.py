"""Networks with an energy: states that are updated again and again, in turn, at random or all at once."""
