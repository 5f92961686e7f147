"""The fields that calls are made of. Each refuses with the code, the rule and its own name."""

from collections.abc import Callable
from typing import Any, NamedTuple

from apiflask import Schema
from marshmallow import fields, missing

from api.hidden import Hidden
from ledger.money import Amount, read_number, read_text
from ledger.reader import LONGEST_ID, TWICE, Number, is_id, same
from ledger.refusals import AmountInvalid, FieldMissing, Malformed

MOST_PLANS, MOST_PLANNED = 256, 1024
"""So many ways to read a body are remembered, each with keys of so many characters in all."""


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
    if is_id(value):
        return value
    if isinstance(value, Hidden):
        raise Malformed("must hold no credential", field=field)
    if type(value) is not str:
        raise Malformed("must be a string", field=field)
    if not 0 < len(value) <= LONGEST_ID:
        raise Malformed(f"must have 1 to {LONGEST_ID} characters", field=field)
    raise Malformed("must hold printable characters only", field=field)


class Id(Field, fields.String):
    """A string of 1 to 128 printable characters, compared exactly; one that is not mandatory may be empty."""

    def __init__(self, *, required: bool = False, description: str = "") -> None:
        bounds = {"minLength": int(required), "maxLength": LONGEST_ID}
        said = {"description": description} if description else {}
        super().__init__(required=required, metadata={**bounds, **said})

    def accept(self, value: Any) -> str:
        return check_id(value, self.name)


class Moment(Field):
    """The provider's own time, a string or an integer: kept as it came, never reckoned with."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"oneOf": [{"type": "string"}, {"type": "number"}]}, **kwargs)

    def accept(self, value: Any) -> str:
        text = str(kept(value, self.name)) if type(value) in (int, Number) else value
        if not is_id(text):
            raise Malformed("must be a time, as a string or a number", field=self.name)
        return text


class Money(Field):
    """An amount, a JSON string or number, read exactly."""

    def __init__(self, **kwargs: Any) -> None:
        text = {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,18})?$"}
        number = {"type": "number", "minimum": 0}
        super().__init__(metadata={"oneOf": [text, number]}, **kwargs)

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
    return str(value) if isinstance(value, Hidden) else value


class Plan(NamedTuple):
    """How bodies with the same keys are read: by the field's name its key, None where it is not given."""

    known: list[tuple[str, str | None, Callable[[Any], Any], bool]]
    rest: list[str]


class Fields(Schema):
    """A call's fields under any spelling of letter case; what it does not know is kept apart."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._spellings = {s: name for name in self.fields for s in (name, name.lower())}
        self._plans: dict[tuple[str, ...], Plan] = {}

    def take(self, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the known fields, canonically spelt and read, and the rest as an event keeps it.

        Raises the Refusal of the first field at fault.
        """
        keys = tuple(body)
        plan = self._plans.get(keys) or self._planned(keys)
        if plan is None:
            body = self._spelt_once(body)
            plan = self._plan(tuple(body))
        loaded = {}
        for name, key, read, is_plain in plan.known:  # what marshmallow's load does, much sooner
            value = missing if key is None else body[key]
            if not (is_plain and is_id(value)):
                value = read(value)
            if value is not missing:
                loaded[name] = value
        return loaded, {key[:LONGEST_ID]: kept(body[key], key[:LONGEST_ID]) for key in plan.rest}

    def _planned(self, keys: tuple[str, ...]) -> Plan | None:
        """Returns a new plan, and remembers it; None where two keys spell one field."""
        names = [name for name in map(self.name_of, keys) if name]
        if len(set(names)) < len(names):
            return None
        plan = self._plan(keys)
        if len(self._plans) < MOST_PLANS and sum(map(len, keys)) <= MOST_PLANNED:
            self._plans[keys] = plan
        return plan

    def _plan(self, keys: tuple[str, ...]) -> Plan:
        given = {name: key for key in keys if (name := self.name_of(key))}
        return Plan(
            [
                (name, given.get(name), field.deserialize, isinstance(field, Id))
                for name, field in self.fields.items()
            ],
            [key for key in keys if not self.name_of(key) and key.casefold() not in SECRET_NAMES],
        )

    def name_of(self, key: str) -> str | None:
        """Returns the field that a key spells."""
        name = self._spellings.get(key) or self._spellings.get(key.lower())
        return name if key.isascii() else None

    def _spelt_once(self, body: dict[str, Any]) -> dict[str, Any]:
        """Returns a body with each field under its own name, TWICE where two spellings differ."""
        spelt: dict[str, Any] = {}
        for key, value in body.items():
            name = self.name_of(key) or key
            given_otherwise = name in spelt and not same(spelt[name], value)
            spelt[name] = TWICE if given_otherwise else value
        return spelt
