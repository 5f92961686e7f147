"""The fields that calls are made of. Each refuses with the code, the rule and its own name."""

from typing import Any

from apiflask import Schema
from marshmallow import fields, missing

from ledger.money import Amount, read_number, read_text
from ledger.reader import TWICE, Number, same
from ledger.refusals import AmountInvalid, FieldMissing, Malformed

LONGEST_ID = 128


class Field(fields.Field[Any]):
    """Raises refusals where marshmallow would collect messages: the first fault answers."""

    name: str

    def deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if value is missing or value is None or value == "":
            if not self.required:
                return missing
            raise FieldMissing("is mandatory and missing or empty", field=self.name)
        if value is TWICE:
            raise Malformed(GIVEN_TWICE, field=self.name)
        return self.accept(value)

    def accept(self, value: Any) -> Any:
        """Returns what a present value means. Raises a Refusal that names this field."""
        return value


def check_id(value: Any, field: str) -> str:
    """Returns a string of 1 to 128 printable characters. Raises Malformed."""
    if type(value) is not str:
        raise Malformed("must be a string", field=field)
    if not 0 < len(value) <= LONGEST_ID:
        raise Malformed(f"must have 1 to {LONGEST_ID} characters", field=field)
    if not value.isprintable():
        raise Malformed("must hold printable characters only", field=field)
    return value


class Id(Field, fields.String):
    """A string of 1 to 128 printable characters, compared exactly."""

    def accept(self, value: Any) -> str:
        return check_id(value, self.name)


class Moment(Field, fields.String):
    """The provider's own time, a string or an integer: kept as it came, never reckoned with."""

    def accept(self, value: Any) -> str:
        text = str(value) if type(value) in (str, int, Number) else ""
        if not 0 < len(text) <= LONGEST_ID or not text.isprintable():
            raise Malformed("must be a time, as a string or a number", field=self.name)
        return text


class Money(Field, fields.String):
    """An amount, a JSON string or number, read exactly."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"pattern": r"^[0-9]{1,15}(\.[0-9]{1,18})?$"}, **kwargs)

    def accept(self, value: Any) -> Amount:
        if type(value) is str:
            return read_text(value)
        if type(value) in (int, Number):
            return read_number(str(value))
        raise AmountInvalid("must be a decimal, as a string or a number", field="amount")


class Anything(Field):
    """Any JSON value: kept, never reckoned with."""

    def accept(self, value: Any) -> Any:
        return kept(value, self.name)


GIVEN_TWICE = "is given twice, with different values"
SECRET_NAMES = frozenset({"hash", "token", "memb_id", "password", "secret", "authorization"})


def kept(value: Any, field: str) -> Any:
    """Returns a value as an event keeps it: odd numbers as text, nothing under a secret's name.

    Raises Malformed for NaN, Infinity and what was given twice.
    """
    if value is TWICE:
        raise Malformed(GIVEN_TWICE, field=field)
    if isinstance(value, Number):
        if value.lstrip("-").isalpha():
            raise Malformed("is not a finite number", field=field)
        return str(value)
    if isinstance(value, dict):
        return {k: kept(v, field) for k, v in value.items() if k.casefold() not in SECRET_NAMES}
    if isinstance(value, list):
        return [kept(item, field) for item in value]
    return value


class Fields(Schema):
    """A call's fields under any spelling of letter case; what it does not know is kept apart."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._spellings = {s: name for name in self.fields for s in (name, name.lower())}
        self._readers = [(name, field.deserialize) for name, field in self.fields.items()]

    def take(self, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the known fields, canonically spelt and read, and the rest as an event keeps it.

        Raises the Refusal of the first field at fault.
        """
        known: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for key, value in body.items():
            name = self._spellings.get(key) or self._spellings.get(key.lower())
            if name is None or not key.isascii():
                rest[key] = value
            elif name in known and not same(known[name], value):
                known[name] = TWICE
            else:
                known[name] = value
        loaded = {}
        for name, read in self._readers:  # what marshmallow's load comes to, in a fifth of its time
            value = read(known.get(name, missing))
            if value is not missing:
                loaded[name] = value
        return loaded, {
            key[:LONGEST_ID]: kept(rest[key], key[:LONGEST_ID])
            for key in rest
            if key.casefold() not in SECRET_NAMES
        }
