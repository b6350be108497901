"""Every fault there is, by the order of docs/guarantees.md."""

from __future__ import annotations

from tests.faults.campaign import Fault
from tests.faults.clock_jumps import CLOCK_JUMPS
from tests.faults.damaged_aof import DAMAGED_AOF, DAMAGED_SIGNED_AOF
from tests.faults.diverged_logs import DIVERGED_LOGS
from tests.faults.fuzz import FUZZ
from tests.faults.hostile_entries import HOSTILE_ENTRIES
from tests.faults.http_walks import HTTP_MODEL
from tests.faults.login_times import LOGIN_TIMES
from tests.faults.mutated_tokens import MUTATED_TOKENS
from tests.faults.network_faults import NETWORK
from tests.faults.paused_tails import PAUSED_TAILS
from tests.faults.process_kills import PROCESS_KILLS
from tests.faults.redis_kills import REDIS_KILLS
from tests.faults.scarcity import SCARCITIES
from tests.faults.simulation import SIMULATION
from tests.faults.slow_clients import SLOW_CLIENTS
from tests.faults.switches import SWITCHES

FAULTS: list[Fault] = [
    REDIS_KILLS,
    PROCESS_KILLS,
    PAUSED_TAILS,
    SWITCHES,
    NETWORK,
    DIVERGED_LOGS,
    DAMAGED_AOF,
    DAMAGED_SIGNED_AOF,
    *SCARCITIES,
    *CLOCK_JUMPS,
    HOSTILE_ENTRIES,
    SIMULATION,
    HTTP_MODEL,
    MUTATED_TOKENS,
    LOGIN_TIMES,
    FUZZ,
    SLOW_CLIENTS,
]
