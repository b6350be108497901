"""Which alerts of deploy/alerts.yml fire on what was scraped, by promtool."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.make_run import ROOT
from tests.scraped import Series

ALERTS: Final = ROOT / "deploy" / "alerts.yml"
_SUMS: Final = ("_total", "_bucket", "_count", "_sum")


def require_firing(
    expected: Collection[str], folder: Path, now: Mapping[str, Series], before: Mapping[str, Series]
) -> None:
    """Exactly these, once things have stood for ten minutes as they are `now`, by job.

    Counters go on as they went from `before` to now, every 15 seconds. A job without series is down.
    """
    told = [
        {"series": f"{name}{{{_labels(job, labels)}}}", "values": values}
        for job, series in now.items()
        for name, labels, values in _told(series, before[job])
    ]
    test = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": told,
                "promql_expr_test": [
                    {
                        "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": "12m",
                        "exp_samples": [
                            {"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in expected
                        ],
                    }
                ],
            }
        ],
    }
    file = folder / "alerts-test.yml"
    file.write_text(json.dumps(test))  # JSON is YAML
    ran = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _told(series: Series, before: Series) -> Iterator[tuple[str, tuple[tuple[str, str], ...], str]]:
    yield "up", (), f"{float(bool(series))}+0x60"
    for (name, labels), value in series.items():
        a_sum = name.endswith(_SUMS)
        step = value - before.get((name, labels), 0.0) if a_sum else 0.0
        yield name, labels, f"{value:f}+{step:f}x60"


def _labels(job: str, labels: tuple[tuple[str, str], ...]) -> str:
    all_labels = [*labels, ("job", job), ("instance", f"{job}:1")]
    return ",".join(f"{name}={json.dumps(value)}" for name, value in all_labels)
