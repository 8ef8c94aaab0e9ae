"""A file server for one Region: `python -m benchmarks.wan.files ADDRESS PORT FOLDER`."""

from __future__ import annotations

import sys

from aiohttp import web


def main(address: str, port: str, folder: str) -> None:
    """Serve until terminated."""
    application = web.Application()
    application.router.add_static("/", folder)
    web.run_app(application, host=address, port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
