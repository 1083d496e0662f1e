"""Files from the web: whole and as published, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request

from mpnn.datasets.files import VARIABLE
from mpnn.datasets.record import DataError

QUIET = 30.0  # seconds without a byte
SECONDS = 1800.0  # for a file
MOST = 1 << 30  # bytes
BLOCK = 1 << 16


def download(name: str, url: str, sha256: str | None = None) -> bytes:
    """What lies at an address.

    Args:
        name: of the data set, for sentences.
        url: the address.
        sha256: the sum of what was published, if it is known.

    Raises:
        DataError: it cannot be had, is cut off, is a page of a portal, or is not what was published.
    """
    try:
        content = _fetched(url)
        if content[:256].lstrip().lower().startswith((b"<!doctype html", b"<html")):
            raise ValueError("a page for people came in its place, perhaps of a portal that wants a login")
        found = hashlib.sha256(content).hexdigest()
        if sha256 is not None and found != sha256:
            raise ValueError(f"it is not the published file ({len(content):,} bytes, whose SHA-256 differs)")
    except urllib.error.HTTPError as error:
        error.close()  # the answer's connection
        raise could_not(name, f"{url}: {error}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise could_not(name, f"{url}: {error or type(error).__name__}") from error
    return content


def could_not(name: str, why: str) -> DataError:
    """The sentence of a download that failed, with what to do."""
    return DataError(
        f"{name} could not be downloaded ({why}): try again, or give the folder of its files by data=..., "
        f"--data or the environment variable {VARIABLE}"
    )


def _fetched(url: str) -> bytes:
    ends, parts, size = time.monotonic() + SECONDS, [], 0
    with urllib.request.urlopen(url, timeout=QUIET) as answer:
        while part := answer.read1(BLOCK):
            parts.append(part)
            size += len(part)
            if size > MOST:
                raise ValueError(f"it is larger than {MOST:,} bytes")
            if time.monotonic() > ends:
                raise TimeoutError(f"after {SECONDS:g} seconds it had not ended")
        promised = answer.headers.get("Content-Length")
    if promised is not None and int(promised) != size:
        raise ValueError(f"it was cut off after {size:,} of {int(promised):,} bytes")
    return b"".join(parts)
