import os
import tomllib

import pytest

from api.configuration import ALONE, load_books, settle_books
from api.settings import SettingsWrong
from tests.books.several import as_toml, block, document

OPERATOR = {
    "secure_login": "acme",
    "token": "o",
    "hash": "off",
    "wallet_url": "https://wallet.example",
    "dialect": "kyren-v1",
    "member": "m",
    "wallet_token": "w",
}


@pytest.fixture
def said(tmp_path):
    return document(tmp_path)


def settled(said, environ=None):
    return settle_books(tomllib.loads(as_toml(said)), environ or {})


def refused(said, environ=None):
    with pytest.raises(SettingsWrong) as wrong:
        settled(said, environ)
    assert "\n" not in str(wrong.value)
    return str(wrong.value)


# the grammar


def test_each_book_has_the_grammar_of_a_whole_file(said, tmp_path):
    said["book"][1] |= {
        "provider_book": {"store": f"sqlite:///{tmp_path}/theirs.db", "token": "games"},
        "operator": [OPERATOR],
        "currencies": {"BTC": 8},
        "wallet": {"allow_cancel_completed": True},
    }

    acme, zeta = settled(said).values()

    assert (acme.admin.token, zeta.admin.token) == ("acme-admin", "zeta-admin")
    assert acme.provider[0].tokens == ["acme-token"]
    assert (acme.provider_book, zeta.provider_book.token) == (None, "games")
    assert [operator.secure_login for operator in zeta.operator] == ["acme"]
    assert (acme.currencies, zeta.currencies) == ({}, {"BTC": 8})
    assert zeta.wallet.allow_cancel_completed


def test_books_come_by_id_in_the_order_of_the_file(tmp_path):
    ids = ("zeta", "A-1", "b_2")

    assert tuple(settled(document(tmp_path, ids=ids))) == ids


def test_what_stands_outside_is_what_a_book_has_where_it_says_nothing(said):
    said |= {"server": {"host": "::1", "log_requests": False}, "currencies": {"BTC": 8, "ETH": 9}}
    said["book"][0]["server"]["log_requests"] = True
    said["book"][0]["currencies"] = {"BTC": 6}

    acme, zeta = settled(said).values()

    assert (acme.server.host, zeta.server.host) == ("::1", "::1")
    assert (acme.server.log_requests, zeta.server.log_requests) == (True, False)
    assert acme.server.port != zeta.server.port
    assert (acme.currencies, zeta.currencies) == ({"BTC": 6, "ETH": 9}, {"BTC": 8, "ETH": 9})


def test_a_file_without_books_has_one_that_is_alone(tmp_path):
    file = tmp_path / "roundbook.toml"
    file.write_text('[admin]\ntoken = "a"\n')

    (id_,) = found = load_books(file, {})

    assert id_ == ALONE
    assert found[ALONE].store == "sqlite:///roundbook.db"


# the environment


@pytest.mark.parametrize(
    ("variable", "text", "of", "value"),
    [
        ("BOOK_ACME_STORE", "sqlite:///else.db", lambda s: s.store, "sqlite:///else.db"),
        ("BOOK_ACME_SERVER_PORT", "9", lambda s: s.server.port, 9),
        ("BOOK_ACME_ADMIN_TOKEN", "x", lambda s: s.admin.token, "x"),
        ("BOOK_ACME_PROVIDER_LUCKYMONACO_TOKEN", "x,y", lambda s: s.provider[0].tokens, ["x,y"]),
        ("BOOK_ACME_PROVIDER_BOOK_TOKEN", "g", lambda s: s.provider_book.token, "g"),
        ("BOOK_ACME_AUDIT_EVERY_S", "7", lambda s: s.audit.every_s, 7.0),
        ("BOOK_ACME_CURRENCIES_BTC", "8", lambda s: s.currencies, {"BTC": 8}),
    ],
)
def test_every_value_of_a_book_can_be_overridden_by_the_environment(
    said, variable, text, of, value
):
    before = settled(said)["zeta"]

    acme, zeta = settled(said, {f"ROUNDBOOK_{variable}": text}).values()

    assert of(acme) == value
    assert zeta == before


def test_a_variable_of_what_stands_outside_is_for_every_book_that_says_nothing(said):
    said["book"][0]["audit"] = {"every_s": 5}

    acme, zeta = settled(said, {"ROUNDBOOK_AUDIT_EVERY_S": "7"}).values()

    assert (acme.audit.every_s, zeta.audit.every_s) == (5.0, 7.0)


def test_a_secret_of_a_book_may_stand_in_the_environment(said):
    said["book"][0]["admin"]["token"] = "env:A"

    assert settled(said, {"A": "s3cret"})["acme"].admin.token == "s3cret"
    assert refused(said) == "book acme: admin.token: the environment has no A"


# what is wrong


@pytest.mark.parametrize(
    "id_", ["", "a b", "a/b", "a.b", "ä", "x" * 65, "acme\n", 5, ["acme"], "env:A"]
)
def test_an_id_is_letters_digits_hyphens_and_underscores(said, id_):
    said["book"][1]["id"] = id_

    assert refused(said).startswith("book[1].id: must be letters, digits, - and _")


def test_a_book_needs_an_id(said):
    del said["book"][0]["id"]

    assert refused(said).startswith("book[0].id: ")


def test_no_two_books_have_one_id(said):
    said["book"][1]["id"] = "acme"

    assert refused(said) == "book[1].id: 'acme' is given twice"


@pytest.mark.parametrize(("one", "other"), [("acme", "ACME"), ("a-b", "a_b")])
def test_no_two_ids_are_one_name_in_the_environment(said, one, other):
    said["book"][0]["id"], said["book"][1]["id"] = one, other

    told = refused(said)

    assert told == f"book[1].id: {other!r} and {one!r} are one name in the environment"


OUTSIDE = {
    "store": "sqlite:///roundbook.db",
    "admin": {"token": "a"},
    "auditor": {"token": "a"},
    "provider": [],
    "provider_book": {"token": "g"},
    "operator": [],
}


@pytest.mark.parametrize("key", OUTSIDE)
def test_what_is_a_books_own_never_stands_outside(said, key):
    assert refused({**said, key: OUTSIDE[key]}).startswith(f"{key}: each [[book]] has its own")


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("STORE", "store"),
        ("ADMIN_TOKEN", "admin"),
        ("AUDITOR_TOKEN", "auditor"),
        ("PROVIDER_BOOK_TOKEN", "provider_book"),
    ],
)
def test_nor_in_the_environment(said, variable, key):
    told = refused(said, {f"ROUNDBOOK_{variable}": "x"})

    assert told.startswith(f"{key}: each [[book]] has its own")
    assert f"ROUNDBOOK_{key.upper()}" in told


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"stroe": "x"}, "stroe"),
        ({"server": {"prot": 1}}, "prot"),
        ({"server": 5}, "server"),
        ({"server": {"port": "x"}}, "server.port"),
        ({"provider": [{"id": "P"}]}, "provider[0]"),
        ({"book": [{}]}, "book"),
        ({"store": "postgresql://["}, "store"),
    ],
)
def test_what_is_wrong_in_a_book_is_one_sentence_with_its_id_and_its_key(said, changes, names):
    said["book"][1] |= changes

    told = refused(said)

    assert told.startswith("book zeta: ")
    assert names in told


@pytest.mark.parametrize("key", ["store", "admin"])
def test_a_book_needs_a_store_and_an_admin_of_its_own(said, key):
    del said["book"][1][key]

    told = refused(said)

    assert told.startswith("book zeta: ")
    assert key in told


@pytest.mark.parametrize("book", [[], {"id": "acme"}, 5, [5]])
def test_books_are_a_list_of_blocks(book):
    with pytest.raises(SettingsWrong, match=r"^book"):
        settle_books({"book": book}, {})


def shared(said, key, value):
    said["book"][0][key], said["book"][1][key] = value, value


def test_no_two_books_share_a_port(said):
    shared(said, "server", {"port": 8080})

    assert refused(said) == "book zeta: server.port: is book acme's server.port too"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sqlite:///book.db", "sqlite:///./a/../book.db"),
        ("postgresql://a:x@h/db?schema=s", "postgres://b@H:5432/db?schema=s&sslmode=require"),
        ("postgresql://h/db", "postgresql://h/db?schema=roundbook"),
        ("postgresql:///db?host=h", "postgresql://h/db"),
        ("postgresql://[::1]/db", "postgresql://[::1]:5432/db"),
    ],
)
def test_no_two_books_share_a_store_whatever_way_it_is_written(said, one, other):
    said["book"][0]["store"], said["book"][1]["store"] = one, other

    assert refused(said) == "book zeta: store: is book acme's store too"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://h/db?schema=a", "postgresql://h/db?schema=b"),
        ("postgresql://h/db?schema=a", "sqlite:///a.db"),
    ],
)
def test_a_schema_is_enough_to_tell_two_stores_apart(said, one, other):
    said["book"][0]["store"], said["book"][1]["store"] = one, other

    assert settled(said)["acme"].store == one


def test_a_store_is_one_books_whichever_party_has_it(said):
    said["book"][1]["provider_book"] = {"store": said["book"][0]["store"], "token": "g"}

    assert refused(said) == "book zeta: provider_book.store: is book acme's store too"


def test_no_book_is_read_from_the_store_of_another_or_from_its_copy(said):
    said["book"][0] |= {"store": "postgresql://h/db?schema=a", "read_store": "postgresql://c/db"}
    for other in ("postgresql://c/db", "postgresql://h/db?schema=a"):
        said["book"][1]["read_store"] = other

        assert refused(said).startswith("book zeta: read_store: is book acme's ")


def test_no_two_books_keep_one_audit_file(said, tmp_path):
    for each in said["book"]:
        each["store"] = f"sqlite:///{tmp_path}/{each['id']}/book.db"
    assert len(settled(said)) == 2

    told = refused({**said, "audit": {"folder": str(tmp_path)}})

    assert told.startswith("book zeta: audit.folder with book.audit.db: is book acme's")


def test_no_two_books_write_their_seals_into_one_folder(said, tmp_path):
    seals = {"key": "roundbook.key", "folder": str(tmp_path)}

    told = refused({**said, "seals": seals})

    assert told == "book zeta: seals.folder: is book acme's seals.folder too"
    del seals["folder"]
    assert settled({**said, "seals": seals})["zeta"].seals.key == "roundbook.key"


TOKENS = ("admin", "auditor", "provider_book")


@pytest.mark.parametrize("one", TOKENS)
@pytest.mark.parametrize("other", TOKENS)
def test_no_token_opens_two_books(said, tmp_path, one, other):
    for each, role in zip(said["book"], (one, other), strict=True):
        each[role] = {"token": "t0ken"}
        if role == "provider_book":
            each[role]["store"] = f"sqlite:///{tmp_path}/{each['id']}-provider.db"

    told = refused(said)

    assert told == f"book zeta: {other}.token: is book acme's {one}.token too"


def test_no_pair_of_a_partner_opens_two_books(said):
    said["book"][1]["provider"][0]["token"] = ["zeta-token", "acme-token"]

    told = refused(said)

    its = "provider[0].token with its member"
    assert told == f"book zeta: {its}: is book acme's {its} too"
    said["book"][1]["provider"][0]["member"] = "another"
    assert settled(said)["zeta"].provider[0].tokens == ["zeta-token", "acme-token"]


def test_no_operators_pair_opens_two_books(said, tmp_path):
    for each in said["book"]:
        store = f"sqlite:///{tmp_path}/{each['id']}-provider.db"
        each["provider_book"] = {"store": store, "token": f"{each['id']}-games"}
        each["operator"] = [OPERATOR]

    told = refused(said)

    assert told.startswith("book zeta: operator[0].token with its secure_login: is book acme's")


def test_no_secret_is_quoted(said):
    shared(said, "admin", {"token": "canary"})
    assert "canary" not in refused(said)

    for each in said["book"]:
        each["store"] = "postgresql://u:canary@h/db"
    assert "canary" not in refused(said)


def test_what_is_wrong_names_the_file_too(tmp_path, said):
    file = tmp_path / "books.toml"
    said["book"][1]["id"] = "acme"
    file.write_text(as_toml(said))

    with pytest.raises(SettingsWrong) as wrong:
        load_books(file, {})

    assert str(wrong.value) == f"{file}: book[1].id: 'acme' is given twice"


def test_a_relative_store_is_where_we_are_as_ever(said, tmp_path):
    said["book"][0]["store"] = "sqlite:///here.db"

    (file,) = settled(said)["acme"].audit_files().values()

    assert file == type(tmp_path)(os.getcwd(), "here.audit.db")


def test_a_book_alone_in_its_list_is_a_book_with_its_id(tmp_path):
    one = {"book": [block("acme", tmp_path)]}

    assert list(settled(one)) == ["acme"]
