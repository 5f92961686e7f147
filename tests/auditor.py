"""An auditor of our own: derives the tables from the stored text alone, with none of the book's code."""

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from ledger.store import Record

Tables = dict[str, list[tuple[Any, ...]]]

BET_KINDS = {"BetPlaced", "BetRefused", "TombstoneRecorded"}


def chain(records: Iterable[Record]) -> list[bytes]:
    """Returns the hash each record must have, recomputed from the first."""
    previous, hashes = bytes(32), []
    for record in records:
        covered = b"\0".join(
            [
                record.originator_id.encode(),
                str(record.originator_version).encode(),
                record.topic.encode(),
                record.state,
            ]
        )
        previous = sha256(previous + covered).digest()
        hashes.append(previous)
    return hashes


def derive(records: Iterable[Record]) -> Tables:
    references: dict[Any, Any] = {}
    wallets: dict[Any, Any] = {}
    rounds: dict[Any, Any] = {}
    for record in records:
        body = json.loads(record.state)
        _reference(references, record, body)
        _wallet(wallets, record.topic, body)
        _round(rounds, record.topic, body)
    return {
        "reference_index": [(*key, *row) for key, row in sorted(references.items())],
        "wallets": [(*key, *row.values()) for key, row in sorted(wallets.items())],
        "rounds": [(*key, *row.values()) for key, row in sorted(rounds.items())],
    }


def _reference(references: dict[Any, Any], record: Record, body: dict[str, Any]) -> None:
    match record.topic:
        case topic if topic in BET_KINDS:
            key = (body["provider"], "bet", body["reference"])
        case "ResultRecorded":
            key = (body["provider"], body["kind"], body["reference"])
        case "PromoPaid":
            key = (body["provider"], "promo", body["reference"])
        case "SessionExpired":
            key = (body["provider"], "session", body["session"])
        case "DepositMade":
            key = ("cashier", "deposit", body["reference"])
        case "WithdrawalMade":
            key = ("cashier", "withdrawal", body["reference"])
        case _:
            return
    row = (record.originator_id, record.originator_version, body.get("transaction_id", ""))
    references.setdefault(key, row)


def _wallet(wallets: dict[Any, Any], topic: str, body: dict[str, Any]) -> None:
    if "wallet_version" not in body:
        return
    fresh = {"cash": 0, "scale": body["scale"], "frozen": 0, "version": 0}
    wallet = wallets.setdefault((body["user"], body["currency"]), fresh)
    wallet["cash"] += movement(topic, body)
    wallet["version"] += 1
    if topic in {"WalletFrozen", "WalletUnfrozen"}:
        wallet["frozen"] = int(topic == "WalletFrozen")


def movement(topic: str, body: dict[str, Any]) -> int:
    """Returns by how much an event changes its wallet, from its amount and never from its cash."""
    match topic:
        case "BetPlaced" | "WithdrawalMade":
            return -int(body["amount"])
        case "ResultRecorded" | "PromoPaid" | "DepositMade":
            return int(body["amount"])
        case "BetCancelled" | "BetRefunded":
            return int(body["amount"]) - int(body.get("win", 0))
    return 0


def _round(rounds: dict[Any, Any], topic: str, body: dict[str, Any]) -> None:
    key = (body.get("provider"), body.get("round"))
    if topic == "RoundOpened":
        assert key not in rounds
        rounds[key] = {
            "user": body["user"],
            "currency": body["currency"],
            "status": "InProgress",
            "staked": 0,
            "won": 0,
            "reversed": 0,
            "opened_at": body["recorded_at"],
        }
    if key not in rounds:
        return
    row = rounds[key]
    match topic:
        case "BetPlaced":
            row["staked"] += body["amount"]
        case "ResultRecorded":
            row["won"] += body["amount"]
            row["status"] = "Completed"
        case "BetCancelled" | "BetRefunded":
            row["reversed"] += body["amount"]
            row["won"] -= body.get("win", 0)
        case "RoundEnded" if row["status"] == "InProgress":
            row["status"] = "Completed"
        case "RoundCancelled":
            row["status"] = "Cancelled"
