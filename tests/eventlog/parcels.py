"""A made-up post office: the events and the projection that the library's own tests use."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from eventlog import Add, Codec, Event, Insert, Projection, RecordedEvent, Refused, Rows, Table, Update
from eventlog.row_changes import Changes
from eventlog.upcasting import Payload, Upcaster, Upcasters


class ParcelSent(Event, frozen=True):
    id: int
    customer_id: int
    weight_g: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class ParcelLost(Event, frozen=True):
    id: int


class AddressChanged(Event, frozen=True):
    """Nothing projects it. Version 1 had `town` and `street` in one `address`."""

    schema_version: ClassVar[int] = 2
    customer_id: int
    town: str
    street: str


class AddressChanged1(Event, frozen=True):
    """Version 1."""

    customer_id: int
    address: Annotated[str, msgspec.Meta(pattern="^[^,]*, [^,]*$")]


def address_from_1_to_2(old: Payload) -> Payload:
    street, town = old.pop("address").split(", ")
    return {**old, "street": street, "town": town}


def make_codec() -> Codec:
    upcasters = Upcasters({("AddressChanged", 1): Upcaster(AddressChanged1, address_from_1_to_2)})
    return Codec([ParcelSent, ParcelLost, AddressChanged], upcasters)


def a_parcel_sent(parcel_id: int = 1, *, customer_id: int = 7, weight_g: int = 100) -> ParcelSent:
    return ParcelSent(id=parcel_id, customer_id=customer_id, weight_g=weight_g)


TABLES = [
    Table("customers", "id", {"id": int, "parcels": int, "weight_g": int}),
    Table("parcels", "id", {"id": int, "customer_id": int, "weight_g": int, "lost": int}),
]


def make_post(version: int = 1) -> Projection:
    """Per customer, how many parcels are on their way and what they weigh."""
    post = Projection("post", version, TABLES)

    @post.handles(ParcelSent)
    def parcel_sent(recorded: RecordedEvent[ParcelSent], rows: Rows) -> Changes | Refused:
        sent = recorded.event
        if rows.find("parcels", sent.id) is not None:
            return Refused(f"parcel {sent.id} was sent before")
        parcel = Insert(
            "parcels", {"id": sent.id, "customer_id": sent.customer_id, "weight_g": sent.weight_g, "lost": 0}
        )
        customer = rows.find("customers", sent.customer_id)
        if customer is None:
            return [
                parcel,
                Insert("customers", {"id": sent.customer_id, "parcels": 1, "weight_g": sent.weight_g}),
            ]
        return [
            parcel,
            Add("customers", sent.customer_id, "parcels", 1),
            Add("customers", sent.customer_id, "weight_g", sent.weight_g),
        ]

    @post.handles(ParcelLost)
    def parcel_lost(recorded: RecordedEvent[ParcelLost], rows: Rows) -> Changes | Refused:
        parcel = rows.find("parcels", recorded.event.id)
        if parcel is None or parcel["lost"]:
            return Refused(f"there is no parcel {recorded.event.id} on its way")
        customer_id, weight_g = parcel["customer_id"], parcel["weight_g"]
        assert isinstance(customer_id, int)
        assert isinstance(weight_g, int)
        return [
            Update("parcels", recorded.event.id, {"lost": 1}),
            Add("customers", customer_id, "parcels", -1),
            Add("customers", customer_id, "weight_g", -weight_g),
        ]

    return post
