"""`customers serve` with another number of workers than it chooses: python -m bench.peers.customers_with WORKERS."""

from __future__ import annotations

import sys

import shared.cli
from customers.cli import main

if __name__ == "__main__":
    shared.cli.WORKERS = int(sys.argv.pop())
    main(["serve"])
