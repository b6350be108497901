"""Every fault there is, by the order of docs/guarantees.md."""

from __future__ import annotations

from tests.faults.campaign import Fault
from tests.faults.network_faults import NETWORK
from tests.faults.paused_tails import PAUSED_TAILS
from tests.faults.process_kills import PROCESS_KILLS
from tests.faults.redis_kills import REDIS_KILLS
from tests.faults.simulation import SIMULATION

FAULTS: list[Fault] = [REDIS_KILLS, PROCESS_KILLS, PAUSED_TAILS, NETWORK, SIMULATION]
