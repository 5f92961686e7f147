from contextlib import closing

import pytest

from ledger.sealing import NoSealsFile, SealContradicted, Sealer
from ledger.store import open_store
from tests.seals import behind, grow, new_signer

SIGNER, OTHER = new_signer(), new_signer()


@pytest.fixture
def store(store_url):
    with closing(open_store(store_url)) as opened:
        yield opened


@pytest.fixture
def file(tmp_path):
    return tmp_path / "book.seals.jsonl"


def sealed(store, *, times=3):
    """Adds seals, of which no file is told."""
    for _ in range(times):
        grow(store)
        assert Sealer(store, SIGNER).seal()
    return store.seals()


def as_lines(seals):
    return b"".join(seal + b"\n" for seal in seals)


LOOKS = {
    "seal": lambda store, file: Sealer(store, SIGNER, file=file).seal(),
    "seal_if_due": lambda store, file: Sealer(
        store, SIGNER, every_events=100, every_s=100, file=file
    ).seal_if_due(),
}
LOOK = pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)


@LOOK
@pytest.mark.parametrize("held", range(4))
def test_what_the_file_lacks_is_appended_though_nothing_is_new(store, file, look, held):
    seals = sealed(store)
    file.write_bytes(as_lines(seals[:held]))

    assert look(store, file) is None
    assert file.read_bytes() == as_lines(seals)


@LOOK
def test_a_file_that_is_gone_is_written_again(store, file, look):
    sealer = Sealer(store, SIGNER, file=file)
    grow(store)
    sealer.seal()
    file.unlink()
    look(store, file)
    assert file.read_bytes() == as_lines(store.seals())
    file.unlink()
    sealer.seal()

    assert file.read_bytes() == as_lines(store.seals())


def test_a_torn_last_line_is_written_again_wherever_it_was_torn(store, file):
    seals = sealed(store)
    whole = as_lines(seals)
    for end in range(len(as_lines(seals[:1])), len(whole)):
        file.write_bytes(whole[:end])
        Sealer(store, SIGNER, file=file).seal()
        assert file.read_bytes() == whole


@pytest.mark.parametrize("torn", [b"\0" * 100, b"\xff", b"{", b'{"position":'])
def test_a_torn_last_line_that_is_no_beginning_of_a_seal_is_written_again(store, file, torn):
    seals = sealed(store)
    file.write_bytes(as_lines(seals[:2]) + torn)
    Sealer(store, SIGNER, file=file).seal()

    assert file.read_bytes() == as_lines(seals)


@pytest.mark.parametrize("torn", [b"\0" * 100, b"{", b'{"position":', b'{"position":1,"ha'])
def test_a_first_line_that_was_torn_is_written_again(store, file, torn):
    seals = sealed(store)
    file.write_bytes(torn)
    Sealer(store, SIGNER, file=file).seal()

    assert file.read_bytes() == as_lines(seals)


@LOOK
@pytest.mark.parametrize(
    "held", [b"SQLite format 3\0\x10\n", b"a note", b'# kept\n{"a":1}', b"-----BEGIN KEY\n"]
)
def test_a_file_that_is_none_of_seals_is_left_alone(store, file, look, held):
    file.write_bytes(held)
    grow(store)
    with pytest.raises(NoSealsFile, match="is another file, and no seal is in it"):
        look(store, file)

    assert file.read_bytes() == held
    assert store.seals() == []


def test_a_line_that_tears_while_the_sealer_runs_is_written_again(store, file):
    sealer = Sealer(store, SIGNER, file=file)
    for _ in range(3):
        grow(store)
        sealer.seal()
        file.write_bytes(file.read_bytes()[:-9])
        sealer.seal()
        assert file.read_bytes() == as_lines(store.seals())


def test_what_is_no_seal_stays_as_it_is(store, file):
    seals = sealed(store)
    noted = b"# kept since May\n\n" + as_lines(seals[:1]) + b'{"a":1}\n\xff\n'
    file.write_bytes(noted)
    Sealer(store, SIGNER, file=file).seal()

    assert file.read_bytes() == noted + as_lines(seals[1:])


def test_a_file_that_began_later_or_lacks_one_in_between_goes_on_at_its_end(store, file):
    seals = sealed(store, times=5)
    held = as_lines([seals[1], seals[3]])
    file.write_bytes(held)
    Sealer(store, SIGNER, file=file).seal()

    assert file.read_bytes() == held + as_lines(seals[4:])


def test_the_file_is_whole_behind_a_seal_that_was_not_written_to_it(store, file, monkeypatch):
    sealer = Sealer(store, SIGNER, file=file)
    grow(store)
    sealer.seal()
    grow(store)
    with monkeypatch.context() as patched:
        add = store.add_seal
        patched.setattr(store, "add_seal", lambda *seal, after: (add(*seal, after=after), 1 / 0))
        with pytest.raises(ZeroDivisionError):
            sealer.seal()
    assert len(file.read_bytes().splitlines()) == 1

    assert sealer.seal() is None
    assert file.read_bytes() == as_lines(store.seals())


def contradicted(store, file, look):
    """Returns what is said of a file that holds more than the book; nothing may be sealed or written."""
    before, held = store.seals(), file.read_bytes()
    with pytest.raises(SealContradicted) as contradiction:
        look(store, file)
    assert store.seals() == before
    assert file.read_bytes() == held
    return f"{contradiction.value}"


@LOOK
@pytest.mark.parametrize("end", [b"\n", b""], ids=["whole", "without its end"])
@pytest.mark.parametrize("place", range(4))
def test_a_seal_of_another_book_is_not_gone_on_from(store, file, look, place, end):
    with closing(open_store("memory://")) as another:
        (stranger,) = sealed(another, times=1)
    seals = list(sealed(store))
    seals[place:place] = [stranger]
    file.write_bytes(as_lines(seals).removesuffix(b"\n") + end)
    grow(store)

    assert f"{file} holds a seal of " in contradicted(store, file, look)


@LOOK
def test_a_book_that_lost_seals_is_sealed_no_more(tmp_path, file, look):
    path = tmp_path / "book.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        file.write_bytes(as_lines(sealed(store)))
    behind(path, "delete from seals where number > 1", table="seals")
    with closing(open_store(f"sqlite:///{path}")) as store:
        grow(store)
        assert ", at 2, that is not in the book" in contradicted(store, file, look)
    behind(path, "delete from seals", table="seals")
    with closing(open_store(f"sqlite:///{path}")) as store:
        assert ", at 1, that is not in the book" in contradicted(store, file, look)


def test_a_book_that_is_empty_again_is_not_sealed_into_its_old_file(store, file):
    file.write_bytes(as_lines(sealed(store)))
    with closing(open_store("memory://")) as empty:
        contradicted(empty, file, LOOKS["seal"])
        contradicted(empty, file, LOOKS["seal_if_due"])


def test_two_keys_share_a_file(store, file):
    grow(store)
    Sealer(store, SIGNER, file=file).seal(next_key=OTHER.key)
    Sealer(store, OTHER, file=file).seal()
    grow(store)
    Sealer(store, OTHER, file=file).seal()

    assert file.read_bytes() == as_lines(store.seals())
    assert len(store.seals()) == 3


def test_what_was_compared_is_not_read_again(store, file, monkeypatch):
    seals = sealed(store)
    with closing(open_store("memory://")) as another:
        (stranger,) = sealed(another, times=1)
    file.write_bytes(as_lines([*seals, stranger]))
    asked, scan = [], store.scan
    monkeypatch.setattr(
        store, "scan", lambda table, after: asked.append(after) or scan(table, after=after)
    )
    sealer = Sealer(store, SIGNER, file=file)
    for _ in range(3):
        with pytest.raises(SealContradicted):
            sealer.seal()
    file.write_bytes(as_lines(seals))
    sealer.seal()
    grow(store)
    sealer.seal()

    assert asked == [0, 3, 3, 3, 3, 3]
    assert file.read_bytes() == as_lines(store.seals())
