"""Networks of language: sentences as sequences, complete graphs and trees."""
