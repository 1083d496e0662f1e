"""`make asan`: every C function under AddressSanitizer and UndefinedBehaviorSanitizer."""
