"""The log turns into another: readers are told, nothing of it is applied, and the mend works; controls halt nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import Piece
from tests.faults.diverged_logs import diverge_logs
from tests.faults.log_divergences import (
    CONTROLS,
    DIVERGENCES,
    delete_and_write_anew,
    promote_lagging_replica,
    restore_old_directory,
)
from tests.make_run import NEVER_S

pytestmark = pytest.mark.processes

SEED = "20261121"
IDS_ONLY = Path(__file__).parent / "builds" / "ids_only"


def test_divergence_is_named_and_mended_and_controls_halt_nobody(tmp_path: Path) -> None:
    """Each once; every second divergence is overtaken before anybody looks."""
    trials = len(DIVERGENCES) + len(CONTROLS)
    outcome = diverge_logs(Piece(SEED, trials, tmp_path), patience_s=NEVER_S)
    assert (outcome.trials, outcome.wrong) == (trials, [])
    assert outcome.counts["reads after a divergence"] >= len(DIVERGENCES)
    assert outcome.counts["of them served as fresh"] == 0
    assert outcome.counts["writes after a divergence"] >= len(DIVERGENCES)


def test_overtaken_checkpoint_deceives_a_build_that_compares_ids_alone(tmp_path: Path) -> None:
    """The second is not overtaken, and ids show it; what is not named is applied."""
    kinds = [promote_lagging_replica, restore_old_directory, delete_and_write_anew]
    outcome = diverge_logs(Piece(SEED, 3, tmp_path, IDS_ONLY), kinds, [], patience_s=8)
    overtaken = {
        "trial 0, promote lagging replica, overtakes True",
        "trial 2, delete and write anew, overtakes True",
    }
    assert {wrong.split(":")[0] for wrong in outcome.wrong if "reads say" in wrong} == overtaken
    assert overtaken <= {wrong.split(":")[0] for wrong in outcome.wrong if "rows are not those" in wrong}
