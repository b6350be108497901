"""An event log on one Redis stream, and projections in SQLite that follow it exactly once."""

from eventlog.codec import Codec
from eventlog.errors import EventLogError
from eventlog.events import Event, Metadata, RecordedEvent
from eventlog.log import Command, EventLog, Moment, Published
from eventlog.position import START, Position
from eventlog.projection import Projection, Refused
from eventlog.projection_file import ProjectionFile
from eventlog.projection_reader import ProjectionReader
from eventlog.row_changes import Add, Insert, Row, Rows, Table, Update
from eventlog.subscription import Subscription

__all__ = [
    "START",
    "Add",
    "Codec",
    "Command",
    "Event",
    "EventLog",
    "EventLogError",
    "Insert",
    "Metadata",
    "Moment",
    "Position",
    "Projection",
    "ProjectionFile",
    "ProjectionReader",
    "Published",
    "RecordedEvent",
    "Refused",
    "Row",
    "Rows",
    "Subscription",
    "Table",
    "Update",
]
