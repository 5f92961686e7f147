import tomllib
from contextlib import closing

import pytest

from api import create_app
from api.configuration import load, settle
from api.folders import make_folder
from api.settings import SettingsWrong
from ledger.seal import new_key
from ledger.store import open_store
from scripts import options
from scripts.service import prepare, welcome
from tests import controls
from tests.http import wire
from tests.http.server import free_port, roundbook
from tests.provider import examples

EXAMPLE = """
store = "sqlite:///roundbook.db"

[admin]
token = "env:ROUNDBOOK_ADMIN_SECRET"
[auditor]
token = "auditor-token"

[server]
host = "127.0.0.1"
port = 8080
log_requests = true

[wallet]
allow_cancel_completed = false

[[provider]]
id = "LuckyMonaco"
dialect = "lucky-monaco-v4"
member = "acme"
token = ["new-token", "old-token"]
[[provider]]
id = "Kyren"
dialect = "kyren-v1"
member = "acme"
token = "ky-token"
bets = true
games_off = ["6_speed_baccarat1"]

[currencies]
BTC = 8
"""
SECRET = {"ROUNDBOOK_ADMIN_SECRET": "s3cret"}
SMALLEST = '[admin]\ntoken = "a"\n'


@pytest.fixture
def written(tmp_path):
    def write(text):
        file = tmp_path / "roundbook.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


def test_the_published_example_loads(written):
    found = load(written(EXAMPLE), SECRET)

    assert found.store == "sqlite:///roundbook.db"
    assert (found.admin.token, found.auditor.token) == ("s3cret", "auditor-token")
    assert (found.server.host, found.server.port) == ("127.0.0.1", 8080)
    assert [provider.id for provider in found.provider] == ["LuckyMonaco", "Kyren"]
    assert found.provider[0].tokens == ["new-token", "old-token"]
    assert found.provider[1].games_off == ["6_speed_baccarat1"]
    assert found.currencies == {"BTC": 8}
    assert found.house().scale("BTC") == 8
    assert found.wallet.allow_cancel_completed is False


def test_an_admin_token_is_all_a_file_needs(written):
    found = load(written(SMALLEST), {})

    assert found.store == "sqlite:///roundbook.db"
    assert found.server.host == "127.0.0.1"
    assert found.auditor is None
    assert found.provider == []


def test_any_value_may_stand_in_the_environment(written):
    text = '[admin]\ntoken="env:A"\n[[provider]]\nid="P"\ndialect="kyren-v1"\nmember="env:M"\n'
    text += 'token=["env:N", "env:O"]\n'

    found = load(written(text), {"A": "1", "M": "2", "N": "3", "O": "4"})

    assert (found.admin.token, found.provider[0].member) == ("1", "2")
    assert found.provider[0].tokens == ["3", "4"]


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("ROUNDBOOK_STORE", "sqlite:///else.db", "store", "sqlite:///else.db"),
        ("ROUNDBOOK_ADMIN_TOKEN", "other", "admin.token", "other"),
        ("ROUNDBOOK_AUDITOR_TOKEN", "other", "auditor.token", "other"),
        ("ROUNDBOOK_SERVER_HOST", "::1", "server.host", "::1"),
        ("ROUNDBOOK_SERVER_PORT", "9000", "server.port", 9000),
        ("ROUNDBOOK_SERVER_LOG_REQUESTS", "false", "server.log_requests", False),
        ("ROUNDBOOK_WALLET_ALLOW_CANCEL_COMPLETED", "true", "wallet.allow_cancel_completed", True),
        ("ROUNDBOOK_PROVIDER_LUCKYMONACO_TOKEN", "a,b", "provider.0.tokens", ["a,b"]),
        ("ROUNDBOOK_PROVIDER_LUCKYMONACO_TOKEN", "one", "provider.0.tokens", ["one"]),
        ("ROUNDBOOK_PROVIDER_KYREN_MEMBER", "m", "provider.1.member", "m"),
        ("ROUNDBOOK_PROVIDER_KYREN_BETS", "false", "provider.1.bets", False),
        ("ROUNDBOOK_PROVIDER_KYREN_GAMES_OFF", "x,y", "provider.1.games_off", ["x", "y"]),
        ("ROUNDBOOK_PROVIDER_KYREN_GAMES_OFF", "x", "provider.1.games_off", ["x"]),
        ("ROUNDBOOK_PROVIDER_KYREN_GAMES", "x,y", "provider.1.games", ["x", "y"]),
        ("ROUNDBOOK_CURRENCIES_USD", "4", "currencies.USD", 4),
        ("ROUNDBOOK_CURRENCIES_BTC", "6", "currencies.BTC", 6),
    ],
)
def test_every_value_can_be_overridden_by_the_environment(written, variable, text, path, value):
    found = load(written(EXAMPLE), {**SECRET, variable: text})

    for part in path.split("."):
        if part.isdigit():
            found = found[int(part)]
        else:
            found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == value


def test_the_environment_can_give_what_the_file_leaves_out(written):
    environ = {"ROUNDBOOK_ADMIN_TOKEN": "a", "ROUNDBOOK_AUDITOR_TOKEN": "b"}

    found = load(written(""), environ)

    assert (found.admin.token, found.auditor.token) == ("a", "b")


def test_a_variable_that_two_partners_share_gives_neither_the_others_secret(written):
    other = PROVIDER.replace('"P"', '"P-1"') + PROVIDER.replace('"P"', '"P_1"')
    variable = "ROUNDBOOK_PROVIDER_P_1_TOKEN"

    with pytest.raises(SettingsWrong, match=f"{variable}: is of 'P-1' and 'P_1' alike"):
        load(written(SMALLEST + other), {variable: "secret"})

    found = load(written(SMALLEST + other), {"ROUNDBOOK_PROVIDER_P_TOKEN": "secret"})
    assert [each.tokens for each in found.provider] == [["t"], ["t"]]


def test_an_override_may_point_into_the_environment_too(written):
    found = load(written(SMALLEST), {"ROUNDBOOK_ADMIN_TOKEN": "env:X", "X": "y"})

    assert found.admin.token == "y"


PROVIDER = '[[provider]]\nid="P"\ndialect="kyren-v1"\nmember="m"\ntoken="t"\n'

PAGE_BYTES = 4096

WRONG = {
    "an unknown key": (f"stroe = 'x'\n{SMALLEST}", "stroe"),
    "an unknown key in a block": (f"{SMALLEST}[server]\nprot = 1\n", "prot"),
    "an unknown block": (f"{SMALLEST}[sever]\nport = 1\n", "sever"),
    "a wrong type": (f"{SMALLEST}[server]\nport = 'x'\n", "server.port"),
    "a store that is no text": (f"store = 5\n{SMALLEST}", "store"),
    "a file with parameters": (f"store = 'sqlite:///book.db?mode=ro'\n{SMALLEST}", "store: a file"),
    "a password that cuts a URL": (
        f"store = 'postgresql://u:a/b@h/d'\n{SMALLEST}",
        "store: cannot",
    ),
    "a block that is a value": (f"server = 5\n{SMALLEST}", "server"),
    "an admin that is a value": ("admin = 5\n", "admin"),
    "a list of blocks that is a block": (f"{SMALLEST}[provider]\nid='x'\n", "provider"),
    "a provider that is a value": (f"provider = [1]\n{SMALLEST}", "provider"),
    "currencies that are a value": (f"currencies = 1\n{SMALLEST}", "currencies"),
    "no admin": ("store = 'x'\n", "admin"),
    "an empty file": ("", "admin"),
    "no admin token": ("[admin]\n", "admin"),
    "an empty admin token": ("[admin]\ntoken = ''\n", "admin.token"),
    "an unknown dialect": (SMALLEST + PROVIDER.replace("kyren-v1", "v9"), "provider[0].dialect"),
    "a provider without a token": (SMALLEST + PROVIDER.replace('token="t"\n', ""), "token"),
    "a provider with an empty token": (SMALLEST + PROVIDER.replace('"t"', '""'), "token"),
    "a provider with no token in its list": (SMALLEST + PROVIDER.replace('"t"', "[]"), "token"),
    "a provider with an empty token in its list": (
        SMALLEST + PROVIDER.replace('"t"', '["a", ""]'),
        "token",
    ),
    "a provider without a member": (SMALLEST + PROVIDER.replace('member="m"\n', ""), "member"),
    "a provider without an id": (SMALLEST + PROVIDER.replace('id="P"\n', ""), "id"),
    "one provider twice": (SMALLEST + PROVIDER * 2, "provider[1].id"),
    "one provider twice in other letters": (
        SMALLEST + PROVIDER + PROVIDER.replace('"P"', '"p"'),
        "provider[1].id",
    ),
    "a variable nobody set": ("[admin]\ntoken = 'env:NOBODY_SET_THIS'\n", "admin.token"),
    "a port beyond the last": (f"{SMALLEST}[server]\nport = 70000\n", "server.port"),
    "a port below the first": (f"{SMALLEST}[server]\nport = -1\n", "server.port"),
    "too many decimals": (f"{SMALLEST}[currencies]\nBTC = 30\n", "currencies"),
    "a currency without a name": (f"{SMALLEST}[currencies]\n'' = 2\n", "currencies: ''"),
    "a currency whose name has a line's end": (
        f'{SMALLEST}[currencies]\n"BTC\\n" = 8\n',
        "currencies: 'BTC\\n' must hold printable characters",
    ),
    "a currency of a longer name than a call has": (
        f"{SMALLEST}[currencies]\n{'B' * 129} = 8\n",
        "must have 1 to 128 characters: no call could name it",
    ),
    "decimals that are none": (f"{SMALLEST}[currencies]\nBTC = 'x'\n", "currencies"),
    "one token for admin and auditor": (f"{SMALLEST}[auditor]\ntoken = 'a'\n", "auditor.token"),
    "a token with an end of line": ('[admin]\ntoken = "a\\r\\n"\n', "admin.token"),
    "an admin token that no header brings": ("[admin]\ntoken = 'ü'\n", "admin.token"),
    "an auditor token that a header divides": (
        f"{SMALLEST}[auditor]\ntoken = 'a=b'\n",
        "auditor.token",
    ),
    "an admin token that begins with a blank": ("[admin]\ntoken = ' a'\n", "admin.token"),
    "an auditor token that ends with a blank": (
        f"{SMALLEST}[auditor]\ntoken = 'b '\n",
        "auditor.token",
    ),
    "a game token that no header brings": (
        f"provider_book.token = 'ü'\n{SMALLEST}",
        "provider_book.token",
    ),
    "a token with another sign that is no text": ('[admin]\ntoken = "a\\u0000"\n', "admin.token"),
    "a host that is no text": (f'{SMALLEST}[server]\nhost = "\\u0000"\n', "server.host"),
    "a token of a list with an end of line": (
        SMALLEST + PROVIDER.replace('"t"', '["a", "b\\n"]'),
        "provider[0].token[1]",
    ),
    "no toml": ("[admin\n", "roundbook.toml"),
    "no utf-8": (b"\xff\xfe", "roundbook.toml"),
}


def one_sentence(text, names):
    assert names in text
    assert "\n" not in text.strip()
    assert "Traceback" not in text


@pytest.mark.parametrize(("text", "names"), WRONG.values(), ids=WRONG)
def test_a_wrong_configuration_is_one_sentence_that_names_its_key(written, text, names):
    with pytest.raises(SettingsWrong) as wrong:
        load(written(text), {})

    one_sentence(str(wrong.value), names)


OPERATOR = "provider_book.token='g'\n[[operator]]\nsecure_login='o'\n"
A_FEW_WORDS = {
    "provider[0].dialect": (PROVIDER.replace("kyren-v1", "v9"), "lucky-monaco-v4 or kyren-v1"),
    "operator[0].dialect": (f"{OPERATOR}dialect=5\n", "lucky-monaco-v4 or kyren-v1"),
    "operator[0].hash": (f"{OPERATOR}hash='sha'\n", "md5_sorted, hmac_sha256 or off"),
    "server.log_requests": ("server.log_requests = 'no'\n", "true or false"),
    "audit.https": ("audit.https = 1\n", "true or false"),
}


@pytest.mark.parametrize("key", A_FEW_WORDS)
def test_what_has_to_be_one_of_a_few_words_is_told_them(written, key):
    text, words = A_FEW_WORDS[key]
    file = written(f"admin.token = 'a'\n{text}")

    with pytest.raises(SettingsWrong) as wrong:
        load(file, {})

    assert str(wrong.value) == f"{file}: {key}: must be {words}"


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("ROUNDBOOK_PROVIDER_P_DIALECT", "lucky-monaco-v4 or kyren-v1"),
        ("ROUNDBOOK_PROVIDER_P_BETS", "true or false"),
    ],
)
def test_a_variable_that_has_to_be_one_of_a_few_words_is_told_them(written, variable, words):
    with pytest.raises(SettingsWrong, match=f"{variable}: must be {words}$"):
        load(written(SMALLEST + PROVIDER), {variable: "perhaps"})


def test_a_file_that_is_not_there_is_one_sentence_too(tmp_path):
    with pytest.raises(SettingsWrong, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml", {})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ROUNDBOOK_SERVER_PORT", "x"),
        ("ROUNDBOOK_SERVER_PORT", "70000"),
        ("ROUNDBOOK_SERVER_LOG_REQUESTS", "perhaps"),
        ("ROUNDBOOK_CURRENCIES_USD", "two"),
    ],
)
def test_a_wrong_variable_is_one_sentence_that_names_it(written, variable, text):
    with pytest.raises(SettingsWrong) as wrong:
        load(written(SMALLEST), {variable: text})

    one_sentence(str(wrong.value), variable)


@pytest.mark.parametrize("end", ["\r", "\n", b"\xf6".decode(errors="surrogateescape")])
@pytest.mark.parametrize("variable", ["FROM_A_FILE", "ROUNDBOOK_ADMIN_TOKEN"])
def test_a_secret_that_is_no_text_is_named_and_not_quoted(written, variable, end):
    environ = {"FROM_A_FILE": "whole", variable: f"canary{end}"}
    with pytest.raises(SettingsWrong) as wrong:
        load(written("[admin]\ntoken = 'env:FROM_A_FILE'\n"), environ)

    one_sentence(str(wrong.value), "admin.token: holds an end of line")
    assert "canary" not in str(wrong.value)


def test_a_wrong_secret_is_not_quoted(written):
    for text in ("[admin]\ntoken = ['canary']\n", f"{SMALLEST}[auditor]\ntoken = {{x='canary'}}\n"):
        with pytest.raises(SettingsWrong) as wrong:
            load(written(text), {})
        assert "canary" not in str(wrong.value)


@pytest.mark.parametrize(
    "fault",
    ["an unknown key", "a port beyond the last", "no toml", "an empty file", "one provider twice"],
)
def test_serving_a_wrong_configuration_exits_2_with_one_line(written, fault):
    text, names = WRONG[fault]

    done = roundbook("serve", "--config", str(written(text)))

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    one_sentence(done.stderr, names)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("store = 'postgres://x'", "postgres"),
        ("store = 'sqlite:///nowhere/at/all/book.db'", "nowhere"),
        ("store = 'sqlite:////proc/version'", "version"),
    ],
)
def test_serving_from_a_store_that_cannot_be_opened_exits_2_with_one_line(written, line, names):
    done = roundbook(
        "serve", "--port", str(free_port()), "--config", str(written(f"{line}\n{SMALLEST}"))
    )

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    one_sentence(done.stderr, names)


@pytest.mark.parametrize("missing", ["", "/deeper"])
@pytest.mark.parametrize(
    ("key", "more"),
    [("audit.folder", ""), ("seals.folder", "seals.key = '{0}/key'\naudit.keep = false\n")],
)
def test_serving_with_a_folder_that_cannot_be_written_exits_2_with_one_line(
    written, tmp_path, key, more, missing
):
    (tmp_path / "key").write_bytes(new_key())
    (tmp_path / "a file").touch()
    folder = f"{tmp_path}/a file{missing}"
    text = f"store = 'sqlite:///{tmp_path}/book.db'\nadmin.token = 'a'\n{key} = '{folder}'\n"

    done = roundbook(
        "serve", "--port", str(free_port()), "--config", str(written(text + more.format(tmp_path)))
    )

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    one_sentence(done.stderr, f"{key}: {folder}: ")
    assert done.stderr.endswith("; nothing can be written there\n")


def test_a_folder_that_is_missing_is_made_and_nothing_is_left_in_it(tmp_path):
    make_folder(tmp_path / "a" / "b", "audit.folder")

    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_demo_never_listens_beyond_the_loopback(tmp_path):
    done = roundbook(
        "serve",
        "--host",
        "0.0.0.0",
        "--store",
        f"sqlite:///{tmp_path}/b.db",
        environ={"HOME": str(tmp_path)},
    )

    assert done.returncode == 2
    one_sentence(done.stderr, "server.host")


UNFIT_FOLDERS = {"file": "File exists", "file/seals": "Not a directory"}


@pytest.mark.parametrize(("folder", "said"), UNFIT_FOLDERS.items())
def test_serving_with_a_folder_for_seals_that_is_none_names_the_setting(tmp_path, folder, said):
    (tmp_path / "seal.pem").write_bytes(new_key())
    (tmp_path / "file").touch()
    config = tmp_path / "roundbook.toml"
    config.write_text(f'{SMALLEST}[seals]\nkey = "seal.pem"\nfolder = "{folder}"\n')

    done = roundbook("serve", "--port", str(free_port()), folder=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    one_sentence(done.stderr, f"seals.folder: {folder}: {said}")


@pytest.mark.parametrize("key", ["store", "read_store"])
def test_serving_from_memory_names_the_setting(written, key):
    done = roundbook("serve", "--config", str(written(f"{key} = 'memory://'\n{SMALLEST}")))

    assert done.returncode == 2
    one_sentence(done.stderr, f"roundbook: {key}: ")


def test_serving_a_damaged_book_names_it(tmp_path):
    with closing(controls.new_book(f"sqlite:///{tmp_path}/roundbook.db")) as book:
        controls.fund(book)
    with (tmp_path / "roundbook.db").open("r+b") as damaged:
        damaged.seek(PAGE_BYTES)
        damaged.write(b"\xff" * PAGE_BYTES)
    (tmp_path / "roundbook.toml").write_text(SMALLEST)

    done = roundbook("serve", "--port", str(free_port()), folder=tmp_path)

    assert done.returncode == 2
    one_sentence(done.stderr, "sqlite:///roundbook.db: database disk image is malformed")


DEMOS_STORES = {"operator": "roundbook.db", "provider": "provider.db"}


@pytest.mark.parametrize("party", DEMOS_STORES)
def test_a_demo_pays_nothing_into_a_book_that_is_in_earnest(tmp_path, party):
    path = tmp_path / DEMOS_STORES[party]
    if party == "operator":
        with closing(controls.new_book(f"sqlite:///{path}")) as book:
            controls.fund(book)
    else:
        with closing(examples.new_book(f"sqlite:///{path}", now=examples.Clock())) as theirs:
            examples.accepted_bet(theirs)
    before = path.read_bytes()

    done = roundbook("serve", "--port", str(free_port()), folder=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    one_sentence(done.stderr, "--config")
    assert path.read_bytes() == before


def test_a_book_that_is_new_is_told_with_the_folder_it_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = load_of(tmp_path, SMALLEST)
    told = [welcome(found, prepare(found)) for _ in range(2)]

    assert f"books: sqlite:///roundbook.db (new, in {tmp_path})   calls: " in told[0]
    assert "books: sqlite:///roundbook.db   calls: " in told[1]


def load_of(folder, text):
    file = folder / "roundbook.toml"
    file.write_text(text)
    return load(file, {"ROUNDBOOK_SERVER_PORT": str(free_port())})


def test_a_demo_goes_on_with_its_own_book_and_is_funded_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        found, demo = options.settings(None, port=free_port())
        assert demo
        prepare(found, demo=True)
        with closing(open_store(found.store, read_only=True)) as store:
            assert store.head().position == 2


def test_a_document_is_settled_alike_whatever_its_environment_holds_beside_it():
    more = {"PATH": "x", "ROUNDBOOK": "y", "ROUNDBOOK_": "z"}

    assert settle(wire.document(), more) == settle(wire.document(), {})


def test_a_provider_spelt_otherwise_than_in_the_book_stops_the_start(tmp_path):
    document = tomllib.loads(EXAMPLE)
    document["store"] = f"sqlite:///{tmp_path}/book.db"
    environ = {"ROUNDBOOK_ADMIN_SECRET": "x"}
    book = create_app(settle(document, environ)).extensions["book"]
    book.submit(controls.cancel())
    book.close()
    document["provider"][0]["id"] = "luckymonaco"
    with pytest.raises(SettingsWrong) as wrong:
        create_app(settle(document, environ))
    assert str(wrong.value) == "provider[0].id: the book spells it 'LuckyMonaco', keep that"


def test_a_configuration_that_is_not_there_is_one_plain_sentence(tmp_path):
    done = roundbook("books", "--config", "none.toml", folder=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "roundbook: none.toml: No such file or directory\n"


def test_a_worker_without_a_configuration_takes_no_deliveries_of_the_demo(tmp_path):
    done = roundbook("worker", folder=tmp_path)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("roundbook: --config: the demo's `serve` delivers by itself")


def test_a_configuration_may_begin_with_the_mark_that_notepad_writes(tmp_path):
    file = tmp_path / "roundbook.toml"
    file.write_text(f"\ufeff{SMALLEST}", encoding="utf-8")

    assert load(file, {}).store == "sqlite:///roundbook.db"


def test_a_key_that_is_not_there_is_named_once(tmp_path):
    file = tmp_path / "roundbook.toml"
    file.write_text(f"{SMALLEST}[seals]\nkey = 'none.pem'\n")
    done = roundbook("serve", "--config", str(file), folder=tmp_path)

    assert done.stderr == "roundbook: seals.key: none.pem: No such file or directory\n"
    assert done.returncode == 2
