"""The kinds of tasks: everything that tells one from another, one file a kind."""
