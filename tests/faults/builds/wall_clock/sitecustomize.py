"""A build broken on purpose: pauses and deadlines are measured on the wall clock."""

import time

time.monotonic = time.time
