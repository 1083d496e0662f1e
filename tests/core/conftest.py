"""Random tests of the core may take their time: the first example of a kind compiles its kernels."""

from hypothesis import settings

settings.register_profile("core", deadline=None)
settings.load_profile("core")
