"""A projection that only counts: applied twice, it does not fail but is wrong."""

from __future__ import annotations

from eventlog import Add, Insert, Projection, RecordedEvent, Rows, Table
from eventlog.row_changes import Changes
from tests.eventlog.parcels import ParcelSent

tally = Projection("tally", 1, [Table("customers", "id", {"id": int, "parcels": int})])


@tally.handles(ParcelSent)
def parcel_sent(recorded: RecordedEvent[ParcelSent], rows: Rows) -> Changes:
    customer_id = recorded.event.customer_id
    if rows.find("customers", customer_id) is None:
        return [Insert("customers", {"id": customer_id, "parcels": 1})]
    return [Add("customers", customer_id, "parcels", 1)]
