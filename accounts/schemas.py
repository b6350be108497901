"""The bodies that clients of the accounts service send."""

from __future__ import annotations

import re
from typing import Any, Final

from marshmallow import Schema, ValidationError

from shared.permissions import Role
from shared.strict_json import CheckedField, TextField

LONGEST_NAME: Final = 200
LONGEST_PASSWORD_BYTES: Final = 1024  # hashing costs the same for all below it
SHORTEST_PASSWORD: Final = 12  # characters; nothing is asked of what they are (NIST SP 800-63B)
_REFRESH_TOKEN = re.compile(r"[A-Za-z0-9_-]{65}", re.ASCII)

_USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)


class RoleField(CheckedField[Role]):
    """`admin` or `member`."""

    def check(self, value: Any) -> Role:
        if type(value) is not str or value not in list(Role):
            raise ValidationError(f"must be one of {', '.join(Role)}")
        return Role(value)

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": [role.value for role in Role]}


class UsernameField(TextField):
    """A name for a new user; it appears in paths, so it is kept simple."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(shortest=1, longest=64, **rest)

    def check(self, value: Any) -> str:
        name = super().check(value)
        if not _USERNAME.fullmatch(name):
            raise ValidationError(
                "must have letters, digits and . _ @ - only, and begin with a letter or digit"
            )
        return name

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{_USERNAME.pattern}$"}


class PasswordField(TextField):
    """A text that has few enough bytes, too."""

    def __init__(self, *, shortest: int, **rest: Any) -> None:
        super().__init__(shortest=shortest, longest=LONGEST_PASSWORD_BYTES, **rest)

    def check(self, value: Any) -> str:
        password = super().check(value)
        if len(password.encode()) > LONGEST_PASSWORD_BYTES:
            raise ValidationError(f"must have at most {LONGEST_PASSWORD_BYTES} bytes")
        return password


class RefreshTokenField(CheckedField[str]):
    """As it was answered; one of another form was never a refresh token."""

    def check(self, value: Any) -> str:
        if type(value) is not str or not _REFRESH_TOKEN.fullmatch(value):
            raise ValidationError("must be a refresh token, as login or refresh answered it")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{_REFRESH_TOKEN.pattern}$"}


class LoginBody(Schema):
    username = TextField(shortest=1, longest=LONGEST_NAME, required=True)
    password = PasswordField(shortest=1, required=True)


class RefreshBody(Schema):
    refresh_token = RefreshTokenField(required=True)


class CreateUserBody(Schema):
    username = UsernameField(required=True)
    password = PasswordField(shortest=SHORTEST_PASSWORD, required=True)
    role = RoleField(load_default=Role.MEMBER)


class CreateAccountBody(Schema):
    name = TextField(shortest=1, longest=LONGEST_NAME, required=True)
    description = TextField(shortest=0, longest=1000, load_default="")
    owned_by = TextField(shortest=1, longest=LONGEST_NAME, load_default=None, allow_none=False)
