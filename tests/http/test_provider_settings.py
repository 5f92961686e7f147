import tomllib
from contextlib import suppress
from typing import NamedTuple

import msgspec
import pytest

from api import close, create_app
from api.configuration import load, settle
from api.settings import SettingsWrong
from ledger.provider.house import Operator as OperatorTerms
from ledger.provider.wire import Remote
from tests.http import provider
from tests.http.server import Server, until

EXAMPLE = """
store = "sqlite:///roundbook.db"

[admin]
token = "admin-token"
[auditor]
token = "auditor-token"

[provider_book]
store = "sqlite:///theirs.db"
token = "env:GAMES"
worker = true
sweep_every_s = 30
read_store = "sqlite:///provider-copy.db"
sweep_cap = 50

[[operator]]
secure_login = "acme"
token = ["new-token", "old-token"]
hash = "md5_sorted"
secret = "env:ACME_SECRET"
wallet_url = "https://wallet.acme.example:8443/casino"
dialect = "lucky-monaco-v4"
provider_id = "LuckyMonacoEU"
member = "us"
wallet_token = "wallet-token"
timeout_s = 5
retries = 2
result_retries = 7
backoff_s = 0.5
parked_retry_s = 60
concurrency = 4
retention_days = 30
[[operator]]
secure_login = "acme-kyren"
token = "kyren-token"
hash = "off"
wallet_url = "http://127.0.0.1:8081"
dialect = "kyren-v1"
member = "us"
wallet_token = "kyren-wallet-token"
allow_private = true
"""
ENVIRON = {"GAMES": "game-token", "ACME_SECRET": "SECRETKEY"}
BOOK = '[provider_book]\ntoken = "g"\n'
OPERATOR = """
[[operator]]
secure_login = "acme"
token = "t"
secret = "s"
wallet_url = "https://wallet.example"
dialect = "kyren-v1"
member = "m"
wallet_token = "w"
"""
SMALLEST = f'[admin]\ntoken = "a"\n{BOOK}{OPERATOR}'


def settled(text, environ=ENVIRON):
    return settle(tomllib.loads(text), environ)


def one_sentence(text, names):
    assert text.startswith(names), text
    assert "\n" not in text.strip()
    assert "Traceback" not in text


def changed(line, by):
    assert line in SMALLEST
    return SMALLEST.replace(line, by)


def with_line(line):
    return f"{SMALLEST}{line}\n"


# what is said


def test_the_published_example_loads(tmp_path):
    file = tmp_path / "roundbook.toml"
    file.write_text(EXAMPLE)

    found = load(file, ENVIRON)

    book = found.provider_book
    assert (book.store, book.token, book.worker) == ("sqlite:///theirs.db", "game-token", True)
    assert (book.sweep_every_s, book.sweep_cap) == (30.0, 50)
    acme, kyren = found.operator
    assert (acme.secure_login, acme.tokens) == ("acme", ["new-token", "old-token"])
    assert (acme.hash, acme.secret) == ("md5_sorted", "SECRETKEY")
    assert (kyren.tokens, kyren.hash, kyren.secret) == (["kyren-token"], "off", None)


def test_what_the_rules_and_the_courier_depend_on_is_taken_from_an_operator():
    found = settled(EXAMPLE)

    assert found.operator[0].remote() == Remote(
        url="https://wallet.acme.example:8443/casino",
        member="us",
        token="wallet-token",
        allow_private=False,
        timeout_s=5.0,
        backoff_s=0.5,
        parked_retry_s=60.0,
        concurrency=4,
    )
    house = found.provider_house()
    assert house.operators == {
        "acme": OperatorTerms(
            id="acme",
            dialect="lucky-monaco-v4",
            provider="LuckyMonacoEU",
            retries=2,
            result_retries=7,
            retention_days=30,
        ),
        "acme-kyren": OperatorTerms(id="acme-kyren", dialect="kyren-v1", provider="Kyren"),
    }


def test_what_an_operator_leaves_out_is_as_the_contract_has_it():
    found = settled(SMALLEST)

    book, operator = found.provider_book, found.operator[0]
    assert (book.store, book.worker) == ("sqlite:///provider.db", True)
    assert (book.sweep_every_s, book.sweep_cap) == (60.0, 100)
    assert operator.hash == "md5_sorted"
    assert (operator.timeout_s, operator.retries, operator.result_retries) == (10.0, 3, 10)
    assert (operator.backoff_s, operator.parked_retry_s) == (1.0, 300.0)
    assert (operator.concurrency, operator.retention_days) == (8, 90)
    assert (operator.allow_private, operator.provider_id) == (False, None)
    assert operator.terms().provider == "Kyren"


def test_there_need_be_no_provider():
    found = settled('[admin]\ntoken = "a"\n')

    assert (found.provider_book, found.operator) == (None, [])


def test_a_providers_book_needs_no_operator(tmp_path):
    document = {"store": "memory://", "admin": {"token": "a"}, "server": {"log_requests": False}}
    book = {"store": f"sqlite:///{tmp_path}/provider.db", "token": "g"}

    app = create_app(settle({**document, "provider_book": book}, {}))

    answer = app.test_client().get("/readyz")
    provider.ends("the application", lambda: close(app))
    assert (answer.status_code, answer.json["provider_position"]) == (200, 0)


def test_currencies_hold_for_both_books():
    house = settled(f"{SMALLEST}[currencies]\nBTC = 8\n").provider_house()

    assert (house.scale("BTC"), house.scale("USD")) == (8, 2)


@pytest.mark.parametrize(
    "url",
    [
        "http://wallet",
        "https://wallet.example",
        "https://wallet.example:8443",
        "https://wallet.example/a/b",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "https://wallet.example/",
    ],
)
def test_a_wallet_is_anywhere_http_leads(url):
    found = settled(changed('"https://wallet.example"', f'"{url}"'))

    assert found.operator[0].remote().url == url


# the environment


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("PROVIDER_BOOK_STORE", "sqlite:///else.db", "provider_book.store", "sqlite:///else.db"),
        ("PROVIDER_BOOK_TOKEN", "other", "provider_book.token", "other"),
        ("PROVIDER_BOOK_WORKER", "false", "provider_book.worker", False),
        ("PROVIDER_BOOK_SWEEP_EVERY_S", "7.5", "provider_book.sweep_every_s", 7.5),
        ("PROVIDER_BOOK_SWEEP_CAP", "3", "provider_book.sweep_cap", 3),
        ("OPERATOR_ACME_TOKEN", "other", "operator.0.tokens", ["other"]),
        ("OPERATOR_ACME_TOKEN", "a,b", "operator.0.tokens", ["a,b"]),
        ("OPERATOR_ACME_SECRET", "other", "operator.0.secret", "other"),
        ("OPERATOR_ACME_HASH", "hmac_sha256", "operator.0.hash", "hmac_sha256"),
        ("OPERATOR_ACME_WALLET_URL", "http://x", "operator.0.wallet_url", "http://x"),
        ("OPERATOR_ACME_WALLET_TOKEN", "other", "operator.0.wallet_token", "other"),
        ("OPERATOR_ACME_MEMBER", "other", "operator.0.member", "other"),
        ("OPERATOR_ACME_PROVIDER_ID", "P", "operator.0.provider_id", "P"),
        ("OPERATOR_ACME_TIMEOUT_S", "2.5", "operator.0.timeout_s", 2.5),
        ("OPERATOR_ACME_RETRIES", "0", "operator.0.retries", 0),
        ("OPERATOR_ACME_RESULT_RETRIES", "1", "operator.0.result_retries", 1),
        ("OPERATOR_ACME_BACKOFF_S", "1", "operator.0.backoff_s", 1.0),
        ("OPERATOR_ACME_PARKED_RETRY_S", "1", "operator.0.parked_retry_s", 1.0),
        ("OPERATOR_ACME_CONCURRENCY", "1", "operator.0.concurrency", 1),
        ("OPERATOR_ACME_RETENTION_DAYS", "1", "operator.0.retention_days", 1),
        ("OPERATOR_ACME_ALLOW_PRIVATE", "true", "operator.0.allow_private", True),
        ("OPERATOR_ACME_KYREN_TOKEN", "other", "operator.1.tokens", ["other"]),
        ("OPERATOR_ACME_KYREN_ALLOW_PRIVATE", "false", "operator.1.allow_private", False),
    ],
)
def test_every_value_can_be_overridden_by_the_environment(variable, text, path, value):
    found = settled(EXAMPLE, {**ENVIRON, f"ROUNDBOOK_{variable}": text})

    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    assert found == value


def test_the_environment_can_give_the_whole_of_a_providers_book():
    environ = {"ROUNDBOOK_PROVIDER_BOOK_TOKEN": "g", "ROUNDBOOK_PROVIDER_BOOK_STORE": "sqlite:///x"}

    found = settled('[admin]\ntoken = "a"\n', environ).provider_book

    assert (found.token, found.store) == ("g", "sqlite:///x")


def test_an_override_may_point_into_the_environment_too():
    environ = {"ROUNDBOOK_OPERATOR_ACME_SECRET": "env:X", "X": "y"}

    assert settled(SMALLEST, environ).operator[0].secret == "y"


# what is wrong

WRONG = {
    "one login twice": (SMALLEST + OPERATOR, "operator[1].secure_login: 'acme' is given twice"),
    "no secret for a hash": (
        changed('secret = "s"\n', ""),
        'operator[0].secret: is needed, or hash = "off"',
    ),
    "no secret for an hmac": (
        changed('secret = "s"\n', 'hash = "hmac_sha256"\n'),
        "operator[0].secret",
    ),
    "an empty secret": (changed('secret = "s"', 'secret = ""'), "operator[0].secret"),
    "another hash": (changed('secret = "s"', 'secret = "s"\nhash = "sha1"'), "operator[0].hash"),
    "a hash that is on": (with_line("hash = true"), "operator[0].hash"),
    "an operator without a book": (
        SMALLEST.replace(BOOK, ""),
        "provider_book: an [[operator]] needs the provider's book",
    ),
    "a store that is the other book's copy": (
        'read_store = "sqlite:///provider.db"\n' + SMALLEST,
        "provider_book.store: each book needs a store of its own",
    ),
    "a copy that is the other book": (
        changed(BOOK, BOOK + 'read_store = "sqlite:///roundbook.db"\n'),
        "provider_book.read_store: each book needs a store of its own",
    ),
    "one copy for both books": (
        'read_store = "sqlite:///c.db"\n' + changed(BOOK, BOOK + 'read_store = "sqlite:///c.db"\n'),
        "provider_book.read_store: each book needs a store of its own",
    ),
    "a book where the other's audit file would be": (
        changed(BOOK, BOOK + 'store = "sqlite:///roundbook.audit.db"\n'),
        "audit.folder: ",
    ),
    "one store for both books": (
        'store = "sqlite:///provider.db"\n' + SMALLEST,
        "provider_book.store: each book needs a store of its own",
    ),
    "a book without a token": (SMALLEST.replace('token = "g"\n', ""), "provider_book"),
    "a book with an empty token": (changed('token = "g"', 'token = ""'), "provider_book.token"),
    "the admin's token for the games": (
        changed('token = "g"', 'token = "a"'),
        "provider_book.token",
    ),
    "the auditor's token for the games": (
        changed('token = "g"', 'token = "b"') + '[auditor]\ntoken = "b"\n',
        "provider_book.token",
    ),
    "an unknown key of a book": (changed('token = "g"', 'token = "g"\ntokn = 1'), "provider_book"),
    "no sweep cap": (
        changed('token = "g"', 'token = "g"\nsweep_cap = 0'),
        "provider_book.sweep_cap",
    ),
    "no time between sweeps": (
        changed('token = "g"', 'token = "g"\nsweep_every_s = 0'),
        "provider_book.sweep_every_s",
    ),
    "a worker that is text": (
        changed('token = "g"', 'token = "g"\nworker = "yes"'),
        "provider_book.worker",
    ),
    "a book that is a value": ('provider_book = 5\n[admin]\ntoken = "a"\n', "provider_book"),
    "operators that are a block": ('[admin]\ntoken = "a"\n[operator]\nx = 1\n', "operator"),
    "an operator that is a value": ('operator = [1]\n[admin]\ntoken = "a"\n', "operator[0]"),
    "an unknown key of an operator": (with_line("tokn = 1"), "operator[0]"),
    "an unknown dialect": (changed('"kyren-v1"', '"v9"'), "operator[0].dialect"),
    "a token list without a token": (changed('token = "t"', "token = []"), "operator[0].token"),
    "an empty token": (changed('token = "t"', 'token = ""'), "operator[0].token"),
    "an empty token in a list": (changed('token = "t"', 'token = ["t", ""]'), "operator[0].token"),
    "an empty wallet token": (changed('"w"', '""'), "operator[0].wallet_token"),
    "an empty login": (changed('"acme"', '""'), "operator[0].secure_login"),
    "a login too long": (changed('"acme"', f'"{"x" * 129}"'), "operator[0].secure_login"),
    "a variable nobody set": (changed('"s"', '"env:NOBODY_SET_THIS"'), "operator[0].secret"),
    "retries below none": (with_line("retries = -1"), "operator[0].retries"),
    "retries without end": (with_line("result_retries = 101"), "operator[0].result_retries"),
    "no time to answer": (with_line("timeout_s = 0"), "operator[0].timeout_s"),
    "a time that never ends": (with_line("timeout_s = inf"), "operator[0].timeout_s"),
    "a time that is none": (with_line("backoff_s = nan"), "operator[0].backoff_s"),
    "no retention": (with_line("retention_days = 0"), "operator[0].retention_days"),
    "retention beyond the calendar": (
        with_line("retention_days = 36501"),
        "operator[0].retention_days",
    ),
    "no concurrency": (with_line("concurrency = 0"), "operator[0].concurrency"),
    "a private that is a number": (with_line("allow_private = 1"), "operator[0].allow_private"),
}
WRONG |= {
    f"an operator without its {key}": (
        "\n".join(line for line in SMALLEST.split("\n") if not line.startswith(f"{key} ")),
        "operator[0]",
    )
    for key in ("secure_login", "wallet_url", "dialect", "member", "wallet_token")
}
WRONG |= {
    f"a wallet at {url!r}": (
        changed('"https://wallet.example"', f'"{url}"'),
        "operator[0].wallet_url",
    )
    for url in (
        "",
        "wallet.example",
        "//wallet.example",
        "ftp://wallet.example",
        "file:///etc/passwd",
        "HTTPS//wallet.example",
        "https://",
        "https:///path",
        "https://:8080",
        "https://wallet.example:x",
        "https://wallet.example:99999",
        "https://user@wallet.example",
        "https://user:pass@wallet.example",
        "https://:pass@wallet.example",
        "https://wallet.example?a=b",
        "https://wallet.example/path?MEMB_ID=a&HASH=b",
        "https://wallet.example#x",
        "https://wället.example",
        "http://[::1",
        "https://wallet example",
        "https://wallet.example/a b",
    )
}


@pytest.mark.parametrize(("text", "names"), WRONG.values(), ids=WRONG)
def test_a_wrong_configuration_is_one_sentence_that_names_its_key(text, names):
    with pytest.raises(SettingsWrong) as wrong:
        settled(text)

    one_sentence(str(wrong.value), names)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sqlite:///book.db", "sqlite:///./book.db"),
        ("sqlite:///a/../book.db", "sqlite:///book.db"),
        ("sqlite:////work/book.db", "sqlite:////work//book.db"),
    ],
)
def test_one_file_under_two_names_is_one_store(one, other):
    text = changed('token = "g"', f'token = "g"\nstore = "{other}"')

    with pytest.raises(SettingsWrong) as wrong:
        settled(f'store = "{one}"\n{text}')

    one_sentence(str(wrong.value), "provider_book.store")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ROUNDBOOK_OPERATOR_ACME_RETRIES", "x"),
        ("ROUNDBOOK_OPERATOR_ACME_TIMEOUT_S", "-1"),
        ("ROUNDBOOK_OPERATOR_ACME_ALLOW_PRIVATE", "perhaps"),
        ("ROUNDBOOK_OPERATOR_ACME_HASH", "sha1"),
        ("ROUNDBOOK_PROVIDER_BOOK_SWEEP_CAP", "0"),
        ("ROUNDBOOK_PROVIDER_BOOK_WORKER", "x"),
    ],
)
def test_a_wrong_variable_is_one_sentence_that_names_it(variable, text):
    with pytest.raises(SettingsWrong) as wrong:
        settled(SMALLEST, {variable: text})

    one_sentence(str(wrong.value), variable)


def test_what_the_environment_overrides_is_checked_as_what_the_file_says():
    for environ, names in (
        ({"ROUNDBOOK_OPERATOR_ACME_WALLET_URL": "ftp://x"}, "operator[0].wallet_url"),
        ({"ROUNDBOOK_PROVIDER_BOOK_TOKEN": "a"}, "provider_book.token"),
        ({"ROUNDBOOK_STORE": "sqlite:///provider.db"}, "provider_book.store"),
    ):
        with pytest.raises(SettingsWrong) as wrong:
            settled(SMALLEST, environ)
        one_sentence(str(wrong.value), names)


@pytest.mark.parametrize(
    "line",
    [
        'secret = ["canary"]',
        'secret = {x = "canary"}',
        'wallet_token = ["canary"]',
        'token = {x = "canary"}',
        'wallet_url = "https://user:canary@wallet.example"',
        'wallet_url = "https://wallet.example?HASH=canary"',
        'wallet_url = "https://canary@wallet.example:x"',
        'wallet_url = "https://user:canary"',
    ],
)
def test_a_wrong_secret_is_not_quoted(line):
    key = line.partition(" ")[0]
    kept = "\n".join(each for each in OPERATOR.split("\n") if not each.startswith(f"{key} "))

    with pytest.raises(SettingsWrong) as wrong:
        settled(f'[admin]\ntoken = "a"\n{BOOK}{kept}{line}\n')

    assert "canary" not in str(wrong.value)


# serving


class Done(NamedTuple):
    status: int
    out: str
    err: str


def served(tmp_path, text):
    """What serving comes to; whoever serves what is wrong is ended, with all its processes."""
    server = Server(tmp_path, {})
    server.config.write_text(text)
    try:
        server.start(ready=False)
        until(lambda: server.process.poll() is not None or answers(server), "it ends, or serves")
        status = server.process.poll()
    finally:
        server.kill()
    return Done(status, server.out.read_text(), server.err.read_text())


def answers(server):
    with suppress(OSError):
        return server.get("/livez").status == 200


@pytest.mark.parametrize(
    "fault", ["one login twice", "an operator without a book", "one store for both books"]
)
def test_serving_a_wrong_configuration_exits_2_with_one_line(tmp_path, fault):
    text, names = WRONG[fault]

    done = served(tmp_path, text)

    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert names in done.err
    assert list(tmp_path.glob("*.db*")) == []


def test_serving_a_providers_book_that_cannot_be_opened_exits_2_with_one_line(tmp_path):
    text = changed('token = "g"', 'token = "g"\nstore = "sqlite:///nowhere/at/all/theirs.db"')

    done = served(tmp_path, text)

    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "nowhere" in done.err


@pytest.mark.parametrize("store", ["memory://", "postgres://x"])
def test_a_providers_book_that_would_not_outlive_the_service_is_never_served(tmp_path, store):
    done = served(tmp_path, changed('token = "g"', f'token = "g"\nstore = "{store}"'))

    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "store" in done.err


def test_a_document_is_settled_alike_whatever_its_environment_holds_beside_it(tmp_path):
    more = {"PATH": "x", "ROUNDBOOK_OPERATOR": "y", "ROUNDBOOK_OPERATOR_ACME": "z"}
    documents = [provider.document(tmp_path, "http://wallet") for _ in range(2)]

    assert settle(documents[0], more) == settle(documents[1], {})


def test_every_key_of_both_blocks_is_in_the_example():
    document = tomllib.loads(EXAMPLE)
    found = settled(EXAMPLE)

    said = {key for block in document["operator"] for key in block}
    assert said == {field.name for field in msgspec.structs.fields(found.operator[0])}
    assert set(document["provider_book"]) == {
        field.name for field in msgspec.structs.fields(found.provider_book)
    }
