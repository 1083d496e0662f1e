"""The memory of freed tensors, with and without the setting, each in a fresh process."""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys

import pytest

CODE = """
import resource, torch, mpnn
kept = {setting}
torch.empty(1 << 24).fill_(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for k in range(1, 6):  # a little smaller each, as what is small may be taken from the freed memory meanwhile
    torch.empty((1 << 24) - (k << 14)).fill_(1)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(setting: str) -> tuple[str, int]:
    """The result of the setting, and the number of page faults of five tensors of 64 MB after it."""
    out = subprocess.run(
        [sys.executable, "-c", CODE.format(setting=setting)], capture_output=True, text=True, check=True
    )
    said, count = out.stdout.split()
    return said, int(count)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc has the setting")
def test_kept_memory_is_used_again() -> None:
    pages = 64 * 2**20 // resource.getpagesize()
    assert page_faults("None")[1] > 4 * pages
    said, count = page_faults("mpnn.keep_freed_memory()")
    assert said == "True" and count < 2 * pages
