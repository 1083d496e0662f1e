"""What a data set holds, in the form that a model reads."""
