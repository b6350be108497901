"""What a service answered at `/metrics`, as series with their values."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.pair import Pair

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def series_of(scraped: str) -> Series:
    """Each series of an answer of `/metrics`, with its value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
    }


def scrape(pair: Pair, service: str) -> Series:
    """As Prometheus would."""
    return series_of(scrape_text(pair, service))


def scrape_text(pair: Pair, service: str) -> str:
    """As Prometheus would."""
    caller = pair.accounts(None) if service == "accounts" else pair.customers(None)
    answer = caller.get("/metrics")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    return answer.get_data(as_text=True)


def value_of(series: Series, name: str, **labels: str) -> float:
    """Of one that must be there."""
    return series[name, tuple(sorted(labels.items()))]


def increases(before: Series, now: Series, name: str) -> dict[tuple[str, ...], float]:
    """Of each series of this name that is not what it was, by the values of its labels in the order of their names."""
    more = {
        tuple(value for _, value in labels): value - before.get((each, labels), 0.0)
        for (each, labels), value in now.items()
        if each == name
    }
    return {labels: value for labels, value in more.items() if value}


def the_one(series: Series, name: str) -> str:
    """What the only label of the only series says that is 1, where all others are 0."""
    found = {labels[0][1]: value for (each, labels), value in series.items() if each == name}
    assert sorted(found.values()) == [0.0] * (len(found) - 1) + [1.0], found
    return next(label for label, value in found.items() if value)
