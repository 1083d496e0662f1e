"""The error of data that cannot be used."""


class DataError(ValueError):
    """Data that cannot be used, and why, in one sentence."""
