import pytest

from tests.http import provider, wire


@pytest.fixture
def opener():
    opened = []

    def open_service(settings=None, store=None):
        service = wire.Service(settings, store)
        opened.append(service)
        return service

    yield open_service
    for service in opened:
        service.close()


@pytest.fixture
def service(opener):
    found = opener()
    found.fund()
    return found


@pytest.fixture(scope="module")
def standing():

    found = wire.Service()
    found.fund()
    for call in (wire.BY_NAME["/V4", "bet"], wire.BY_NAME["/v1", "bet"]):
        assert found.call(call.path, call.body).code == 0
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    both = provider.Both(tmp_path_factory.mktemp("both"))
    try:
        both.start()
        both.fund(wire.PLAYER, amount=wire.OPENING_CASH)
        yield both
    finally:
        both.kill()
