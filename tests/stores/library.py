"""The eventsourcing library's own test cases; their module imports a cipher that we have no use for."""

import sys
from types import ModuleType
from unittest.mock import patch

cipher = ModuleType("eventsourcing.cipher")
cipher.AESCipher = object

with patch.dict(sys.modules, {"eventsourcing.cipher": cipher}):
    from eventsourcing.tests import persistence

__all__ = ["persistence"]
