"""Whole networks against the libraries that people have them from, which `make test-peers` installs."""
