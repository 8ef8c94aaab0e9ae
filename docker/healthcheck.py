"""Check that a process of this container answers on loopback: Dask's scheduler or workers, or Dagster."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from http.client import HTTPException

import psutil

_SECONDS = 3.0
_PATHS = ("/health", "/server_info")  # of Dask, and of Dagster


def _answers(port: int) -> bool:
    for path in _PATHS:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=_SECONDS):
                return True
        except urllib.error.HTTPError:
            continue
        except (OSError, HTTPException):
            return False
    return False


def main() -> int:
    """Ask each port on which a process of this container listens on loopback alone."""
    listening = {
        c.laddr.port
        for c in psutil.net_connections("tcp4")
        if c.status == psutil.CONN_LISTEN and c.laddr.ip == "127.0.0.1"
    }
    return 0 if any(_answers(port) for port in sorted(listening)) else 1


if __name__ == "__main__":
    sys.exit(main())
