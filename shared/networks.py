"""Whom an address stands for, where clients are counted by theirs."""

from __future__ import annotations

import ipaddress
from typing import Final

_IPV6_PREFIX: Final = 64  # what one customer of a provider has at least (RFC 6177)
_LONGEST: Final = 64


def network_of(address: str) -> str:
    """With IPv6 the /64, in which one machine has as many as it likes; IPv4 written as IPv6 is IPv4."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:_LONGEST]
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(ipaddress.ip_network((int(found), _IPV6_PREFIX), strict=False))
