from tests.crash.conftest import seed

__all__ = ["seed"]
