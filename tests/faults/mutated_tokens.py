"""Tokens that nobody may be let in by: changed in letters, encodings, algorithms, key ids, claims and times."""

from __future__ import annotations

import base64
import hmac
import json
import random
import string
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from flask import Flask

from accounts.signing_keys import SigningKeys
from eventlog import EventLog
from shared.events import make_codec
from shared.permissions import Role
from shared.public_keys import parse_key_set
from tests.fake_redis import fake_pool
from tests.faults.campaign import Fault, Outcome, Piece
from tests.pair import Client, Pair
from tests.signed import claims_of, signed

_UNAUTHORIZED: Final = 401
_TOKENS_OF_ONE: Final = 500  # made from one good token, which is good for 15 minutes
_ISSUED_AHEAD_S: Final = 11  # a second more than is let pass
_ALPHABET: Final = string.ascii_letters + string.digits + "-_"
_NOT_OF_IT: Final = "+/=.,~!% \t\xe9"
_NOT_TIMES: Final[Sequence[Any]] = (
    *(None, True, "1", "", [], {}, 0, -1, 1e300, 2**70, -(2**70)),
    *(float("nan"), float("inf")),
)
_NOT_TEXT: Final[Sequence[Any]] = (None, True, 1, "", [], {}, ["admin"], {"a": 1})
_ODD_KEY_IDS: Final[Sequence[Any]] = (
    None,
    0,
    True,
    [],
    {},
    "",
    "x",
    "../../../dev/null",
    "' OR 1=1 --",
    "k" * 3000,
)


class _Forge(NamedTuple):
    """Everything an enemy could have but the private keys, and those too, to sign what must be refused all the same."""

    chance: random.Random
    keys: SigningKeys
    foreign: SigningKeys
    good: str
    other: str
    public: bytes

    @property
    def claims(self) -> dict[str, Any]:
        return claims_of(self.good)

    @property
    def parts(self) -> list[str]:
        return self.good.split(".")

    def with_header(self, **fields: Any) -> str:
        """The good claims and signature under another header."""
        header = {**jwt.get_unverified_header(self.good), **fields}
        return ".".join([_encoded(header), *self.parts[1:]])


def mutate_letters(forge: _Forge) -> str:
    """Some letters replaced, left out, doubled or swapped."""
    letters = list(forge.good)
    for _ in range(forge.chance.choice([1, 1, 1, 2, 5, 20])):
        at = forge.chance.randrange(len(letters) - 1)
        kind = forge.chance.randrange(4)
        if kind == 0:
            letters[at] = forge.chance.choice(_ALPHABET)
        elif kind == 1:
            del letters[at]
        elif kind == 2:  # the third kind
            letters.insert(at, letters[at])
        else:
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters)


def mutate_encoding(forge: _Forge) -> str:
    """The same bytes, or nearly, written in another way."""
    parts = forge.parts
    at = forge.chance.randrange(3)
    part = parts[at]
    kind = forge.chance.randrange(8)
    if kind == 0:
        position = forge.chance.randrange(len(part) + 1)
        parts[at] = part[:position] + forge.chance.choice(_NOT_OF_IT) + part[position:]
        return ".".join(parts).strip()
    if kind == 1:
        parts[at] = part + "=" * forge.chance.randint(1, 4)
    elif kind == 2:  # as above
        parts[2] = parts[2][:-1] + forge.chance.choice(_ALPHABET)  # bits that no byte is made of
    elif kind == 3:  # as above
        parts[at] = base64.b64encode(_decoded(part)).decode()
    elif kind == 4:  # as above
        parts[at] = _decoded(part).hex()
    elif kind == 5:  # as above
        parts[at] = part.swapcase()
    elif kind == 6:  # as above
        return forge.chance.choice(["%2E", "..", ",", ""]).join(parts)
    else:
        indent = forge.chance.randint(0, 8)
        parts[at % 2] = _encoded(json.loads(_decoded(parts[at % 2])), indent=indent)
    return ".".join(parts)


def mutate_structure(forge: _Forge) -> str:
    """Parts left out, repeated, empty, of another token, or in another order."""
    parts, others = forge.parts, forge.other.split(".")
    kind = forge.chance.randrange(6)
    if kind == 0:
        del parts[forge.chance.randrange(3)]
    elif kind == 1:
        parts[forge.chance.randrange(3)] = ""
    elif kind == 2:  # as above
        at = forge.chance.choice([1, 2])
        parts[at] = others[at]
    elif kind == 3:  # as above
        parts += forge.chance.choices([*parts, *others, ""], k=forge.chance.randint(1, 3))
    elif kind == 4:  # as above
        forge.chance.shuffle(parts)
    else:
        fields = {"protected": parts[0], "payload": parts[1], "signature": parts[2]}
        return forge.chance.choice([json.dumps(fields), forge.good * 2, f"{forge.good},{forge.other}"])
    return ".".join(parts)


def mutate_algorithm(forge: _Forge) -> str:
    """None, one of the others, and the public key as the secret of a symmetric one."""
    kind = forge.chance.randrange(5)
    key_id = forge.keys.find_signing().kid
    if kind == 0:
        name = forge.chance.choice(["none", "None", "NONE", "nOnE", "", "null", "EdDSA ", "eddsa", "Ed25519"])
        return forge.with_header(alg=name)
    if kind == 1:
        unsigned = jwt.encode(forge.claims, "", algorithm="none", headers={"kid": key_id})
        return unsigned + forge.chance.choice(["", "A", forge.parts[2]])
    if kind == 2:  # as above
        x = base64.urlsafe_b64encode(forge.public)
        secret = forge.chance.choice(
            [forge.public, x, x.rstrip(b"="), forge.public.hex().encode(), b"\0" * 64]
        )
        bits = forge.chance.choice([256, 384, 512])
        text = ".".join([_encoded({"alg": f"HS{bits}", "typ": "JWT", "kid": key_id}), forge.parts[1]])
        signature = hmac.digest(secret, text.encode(), f"sha{bits}")
        return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    if kind == 3:  # as above
        return jwt.encode(forge.claims, _FOREIGN_EC, algorithm="ES256", headers={"kid": key_id})
    return jwt.encode(forge.claims, _FOREIGN_RSA, algorithm="RS256", headers={"kid": key_id})


def mutate_key_id(forge: _Forge) -> str:
    """A key that is not there, another one's, or one that the token brings along."""
    kind = forge.chance.randrange(4)
    if kind == 0:
        return forge.with_header(kid=forge.chance.choice(_ODD_KEY_IDS))
    if kind == 1:
        spelled = list(forge.keys.find_signing().kid)
        spelled[forge.chance.randrange(len(spelled))] = forge.chance.choice(_ALPHABET)
        return forge.with_header(kid="".join(spelled))
    ours, foreign = forge.chance.choice(forge.keys.list_keys()), forge.foreign.find_signing()
    key_id = forge.chance.choice([ours.kid, foreign.kid])
    if kind == 2:  # as above
        return signed(forge.foreign, forge.claims, {"kid": key_id})
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": foreign.x, "kid": key_id}
    brought: Mapping[str, Any] = forge.chance.choice(
        [
            {"jwk": jwk},
            {"jku": "http://127.0.0.1:1/jwks.json"},
            {"x5u": "http://127.0.0.1:1/"},
            {"x5c": ["AA"]},
        ]
    )
    return signed(forge.foreign, forge.claims, {"kid": key_id, **brought})


def mutate_claims(forge: _Forge) -> str:
    """Signed as it should be, and not what accounts says."""
    claims = forge.claims
    name = forge.chance.choice(sorted(claims))
    kind = forge.chance.randrange(3)
    if kind == 0:
        del claims[name]
    elif kind == 1 and name not in {"iat", "nbf", "exp"}:
        claims[name] = forge.chance.choice(_NOT_TEXT)
    else:
        wrong: Mapping[str, Any] = {
            "iss": forge.chance.choice(
                ["", "accounts", "revenue-stream/accounts ", "REVENUE-STREAM/ACCOUNTS"]
            ),
            "aud": forge.chance.choice(["", "customers", ["revenue-stream"], ["revenue-stream", "x"]]),
            "role": forge.chance.choice(["root", "ADMIN", "admin ", "", "0"]),
        }
        name = forge.chance.choice(sorted(wrong))
        claims[name] = wrong[name]
    return signed(forge.keys, claims)


def mutate_times(forge: _Forge) -> str:
    """Signed as it should be, and over, to come, or no times at all."""
    claims, now_s = forge.claims, int(time.time())
    kind = forge.chance.randrange(3)
    if kind == 0:
        claims["exp"] = now_s - forge.chance.choice([0, 1, 60, 10**6, 2 * now_s])
    elif kind == 1:
        ahead_s = _ISSUED_AHEAD_S + 60 + forge.chance.choice([0, 1, 60, 10**6, 10**12])
        claims[forge.chance.choice(["iat", "nbf"])] = now_s + ahead_s
    else:
        name = forge.chance.choice(["exp", "iat", "nbf"])
        odd = [value for value in _NOT_TIMES if name == "exp" or type(value) is not int or value > now_s]
        claims[name] = forge.chance.choice([value for value in odd if (name, value) != ("exp", 2**70)])
    return signed(forge.keys, claims)


MUTATIONS: Final[Mapping[str, Callable[[_Forge], str]]] = {
    "letters": mutate_letters,
    "encodings": mutate_encoding,
    "structure": mutate_structure,
    "algorithm": mutate_algorithm,
    "key id": mutate_key_id,
    "claims": mutate_claims,
    "times": mutate_times,
}
_FOREIGN_EC: Final = ec.generate_private_key(ec.SECP256R1())
_FOREIGN_RSA: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def try_mutated_tokens(piece: Piece) -> Outcome:
    """A trial is one token, shown to both services. The good one it is made from is let in before and after."""
    chance = random.Random(piece.seed)
    log = EventLog(fake_pool(), make_codec())
    log.create()
    pair = Pair(log, piece.folder / "data")
    pair.keys.rotate()  # two that verify, of which one signs
    foreign = SigningKeys(piece.folder / "foreign")
    foreign.make_first()
    names = [list(MUTATIONS)[trial % len(MUTATIONS)] for trial in range(piece.trials)]
    wrong: list[str] = []
    for first in range(0, piece.trials, _TOKENS_OF_ONE):
        good, other = pair.token("root", Role.ADMIN), pair.token("mel", Role.MEMBER)
        forge = _Forge(chance, pair.keys, foreign, good, other, _public_key(pair))
        wrong += _require_let_in(pair, forge)
        for name in names[first : first + _TOKENS_OF_ONE]:
            wrong += _require_refused(pair, forge, name)
        wrong += _require_let_in(pair, forge)
    return Outcome(piece.trials, dict(Counter(names)), wrong)


def _require_refused(pair: Pair, forge: _Forge, name: str) -> list[str]:
    token = MUTATIONS[name](forge)
    if token in {forge.good, forge.other}:
        token += "A"
    return [
        f"{name}: {service} answered {status} to {token!r}"
        for service, status in _shown(pair, token).items()
        if status != _UNAUTHORIZED
    ]


def _public_key(pair: Pair) -> bytes:
    served = pair.accounts(None).get("/.well-known/jwks.json").get_data()
    return parse_key_set(served)[pair.keys.find_signing().kid]


def _require_let_in(pair: Pair, forge: _Forge) -> list[str]:
    return [
        f"{service} answered {status} to a good token"
        for token in (forge.good, forge.other)
        for service, status in _shown(pair, token).items()
        if status == _UNAUTHORIZED
    ]


def _shown(pair: Pair, token: str) -> dict[str, int]:
    asked: Mapping[str, tuple[Flask, str]] = {
        "accounts": (pair.accounts_app, "/users/nobody"),
        "customers": (pair.customers_app, "/customers?limit=1"),
    }
    return {service: Client(app, token).get(path).status_code for service, (app, path) in asked.items()}


def _encoded(document: Any, **how: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document, **how).encode()).rstrip(b"=").decode()


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


MUTATED_TOKENS = Fault(
    "tokens", "a token is changed, forged or signed with wrong claims", 50_000, 5_000, try_mutated_tokens
)
