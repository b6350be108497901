"""A build broken on purpose: a tail says that it follows, whatever keeps it from doing so."""

from eventlog.tail_status import TailState, TailStatus, TailStatusFile

_report = TailStatusFile.report


def _report_that_it_follows(self: TailStatusFile, status: TailStatus) -> bool:
    del status
    return _report(self, TailStatus(TailState.FOLLOWING))


TailStatusFile.report = _report_that_it_follows  # type: ignore[method-assign]  # that is what breaks it
