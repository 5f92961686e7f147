import os
import random
import sys

import pytest


@pytest.fixture
def seed():
    found = os.environ.get("ROUNDBOOK_SEED") or str(random.randrange(10**9))
    sys.stdout.write(f"ROUNDBOOK_SEED={found}\n")
    return found
