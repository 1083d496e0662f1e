"""Files of every format, damaged at random, each read in a process of its own.

`python -m tests.fuzz_files` reads thousands of them; `--only npz:17` reads one again.
"""
