"""A step of message passing as data: which tensor a name means, and what is done with them."""
