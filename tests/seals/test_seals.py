import json
from contextlib import closing

import apsw
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from ledger import merkle
from ledger.merkle import Tree
from ledger.seal import (
    KeyWrong,
    Seal,
    Signer,
    covered,
    is_signed,
    new_key,
    retired,
    signer,
    trusted,
)
from ledger.sealing import SealContradicted, Sealer, seals_of
from ledger.store import open_store
from ledger.store.chain import Head
from tests import controls
from tests.seals import (
    Clock,
    behind,
    grow,
    hashes,
    new_signer,
    pymerkle_root,
    pymerkles,
    read,
    rechain,
)

AT = "2026-11-21T12:00:00.000000Z"
SIGNER, OTHER, THIRD, STRANGER = (new_signer() for _ in range(4))


def tree_over(count):
    tree = Tree()
    for number in range(count):
        tree.append(str(number).encode())
    return tree


def sealed(by=SIGNER, *, position=5, at=AT, next_key=""):
    return by.seal(Head(position, bytes(range(32))), tree_over(position), at=at, next_key=next_key)


# one seal


def test_a_seal_says_what_the_head_was_and_who_says_so():
    seal = sealed()

    assert seal.position == 5
    assert seal.hash == bytes(range(32)).hex()
    assert seal.root == tree_over(5).root.hex()
    assert seal.sealed_at == AT
    assert seal.key == SIGNER.key
    assert seal.next_key == ""
    assert is_signed(seal)


def test_the_signature_is_ed25519_over_lines_of_text_the_first_of_which_names_the_format():
    seal = sealed(next_key=OTHER.key)
    said = ("roundbook seal 1", "5", seal.hash, seal.root, AT, SIGNER.key, OTHER.key)
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(SIGNER.key))

    assert covered(seal) == "\n".join(said).encode()
    public.verify(bytes.fromhex(seal.signature), "\n".join(said).encode())


FORGED = {
    "position": 6,
    "hash": "00" * 32,
    "root": "00" * 32,
    "peaks": ["00" * 32, "11" * 32],
    "sealed_at": "2026-11-21T12:00:00.000001Z",
    "key": STRANGER.key,
    "signature": sealed(STRANGER).signature,
    "next_key": STRANGER.key,
}


def test_no_field_of_a_seal_is_left_unforged_here():
    assert set(FORGED) == set(Seal.__struct_fields__)


@pytest.mark.parametrize("field", FORGED)
def test_a_seal_with_a_forged_field_is_not_signed(field):
    assert not is_signed(replace(sealed(), **{field: FORGED[field]}))


@pytest.mark.parametrize("field", ["key", "signature"])
@pytest.mark.parametrize("value", ["", "00", "x" * 64, "ä", "00" * 33, "\n"])
def test_a_key_or_a_signature_that_is_none_is_not_signed(field, value):
    assert not is_signed(replace(sealed(), **{field: value}))


@pytest.mark.parametrize("peaks", [[], sealed().peaks[:1], [*sealed().peaks, "00" * 32], ["x", ""]])
def test_peaks_that_do_not_come_to_the_signed_root_are_not_signed(peaks):
    assert not is_signed(replace(sealed(), peaks=peaks))


@given(st.integers(0, 10**6), st.sampled_from(["hash", "root", "sealed_at", "key", "next_key"]))
def test_no_digit_of_a_seal_can_be_changed(place, field):
    seal = sealed(next_key=OTHER.key)
    text = getattr(seal, field)
    place %= len(text)
    changed = "1" if text[place] == "0" else "0"

    assert not is_signed(replace(seal, **{field: text[:place] + changed + text[place + 1 :]}))


def test_a_seal_signed_anew_by_another_key_is_signed_and_not_trusted():
    seal = sealed(STRANGER)

    assert is_signed(seal)
    assert seal.key not in trusted([seal], SIGNER.key)


# which keys count


def test_without_a_hand_over_only_the_first_key_counts():
    assert trusted([], SIGNER.key) == {SIGNER.key: ""}
    assert trusted([sealed(), sealed(OTHER)], SIGNER.key) == {SIGNER.key: ""}


def test_every_rotation_is_followed_from_the_key_that_is_trusted():
    seals = [
        sealed(next_key=OTHER.key),
        sealed(OTHER, at="2026-11-22T12:00:00.000000Z", next_key=THIRD.key),
        sealed(THIRD),
    ]

    assert trusted(seals, SIGNER.key) == {
        SIGNER.key: "",
        OTHER.key: AT,
        THIRD.key: "2026-11-22T12:00:00.000000Z",
    }
    assert set(trusted(seals, OTHER.key)) == {OTHER.key, THIRD.key}
    assert set(trusted(seals, THIRD.key)) == {THIRD.key}


def test_a_hand_over_by_a_key_that_is_not_trusted_counts_for_nothing():
    assert set(trusted([sealed(STRANGER, next_key=OTHER.key)], SIGNER.key)) == {SIGNER.key}


def test_a_forged_hand_over_counts_for_nothing():
    forged = replace(sealed(next_key=OTHER.key), next_key=STRANGER.key)

    assert set(trusted([forged], SIGNER.key)) == {SIGNER.key}


def test_a_hand_over_before_its_key_was_trusted_counts_for_nothing():
    seals = [sealed(OTHER, next_key=THIRD.key), sealed(next_key=OTHER.key)]

    assert set(trusted(seals, SIGNER.key)) == {SIGNER.key, OTHER.key}


def test_a_hand_over_by_a_key_that_handed_over_before_counts_for_nothing():
    seals = [sealed(next_key=OTHER.key), sealed(next_key=STRANGER.key)]

    assert set(trusted(seals, SIGNER.key)) == {SIGNER.key, OTHER.key}


def test_a_key_that_is_handed_over_to_again_counts_from_the_first_time():
    seals = [sealed(next_key=OTHER.key), sealed(OTHER, next_key=SIGNER.key)]

    assert trusted(seals, SIGNER.key) == {SIGNER.key: "", OTHER.key: AT}
    assert trusted([*seals, sealed(next_key=OTHER.key, at="later")], SIGNER.key)[OTHER.key] == AT


def test_a_key_is_retired_by_the_seal_in_which_it_hands_over():
    first, second = sealed(next_key=OTHER.key), sealed(OTHER, next_key=THIRD.key)

    assert retired([]) == retired([sealed(), sealed(OTHER)]) == {}
    assert retired([sealed(), first, sealed(OTHER), second]) == {
        SIGNER.key: first,
        OTHER.key: second,
    }
    assert retired([first, sealed(next_key=STRANGER.key)]) == {SIGNER.key: first}


def test_a_key_that_is_handed_over_to_again_is_not_retired():
    first, back = sealed(next_key=OTHER.key), sealed(OTHER, next_key=SIGNER.key)

    assert retired([first, back]) == {OTHER.key: back}
    assert retired([sealed(next_key=SIGNER.key)]) == {}


def test_a_forged_hand_over_retires_no_key():
    assert retired([replace(sealed(), next_key=STRANGER.key)]) == {}


# key files


def pem(key, encryption=None):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


def test_a_new_key_signs_and_is_never_the_same():
    first, second = new_key(), new_key()

    assert signer(first).key == signer(first).key
    assert signer(first).key != signer(second).key
    assert is_signed(sealed(signer(first)))


ED25519 = Ed25519PrivateKey.generate()
NO_KEYS = {
    "nothing": b"",
    "text": b"a key",
    "half a key": new_key()[:60],
    "an encrypted key": pem(ED25519, serialization.BestAvailableEncryption(b"x")),
    "a key of another kind": pem(ec.generate_private_key(ec.SECP256R1())),
    "a public key": ED25519.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ),
}


@pytest.mark.parametrize("file", NO_KEYS.values(), ids=NO_KEYS)
def test_a_file_that_holds_no_key_is_refused_and_nothing_of_it_is_said(file):
    with pytest.raises(KeyWrong) as wrong:
        signer(file)

    assert f"{wrong.value}" in ("is no unencrypted private key in PEM", "is no Ed25519 key")


# the tree


def test_the_root_is_that_of_pymerkle_at_every_size():
    tree, data = Tree(), []
    for size in range(131):
        assert (tree.size, tree.root) == (size, pymerkle_root(data))
        data.append(str(size).encode())
        tree.append(data[-1])


def test_the_roots_are_those_of_certificate_transparency():
    inputs = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")
    tree = Tree()
    for each in (*inputs, "606162636465666768696a6b6c6d6e6f"):
        tree.append(bytes.fromhex(each))

    assert Tree().root.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert tree.root.hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@given(st.lists(st.binary(max_size=40), max_size=200))
def test_the_root_over_anything_is_that_of_pymerkle(data):
    tree = Tree()
    for each in data:
        tree.append(each)

    assert tree.root == pymerkle_root(data)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_tree_goes_on_from_its_peaks(before, after):
    begun = tree_over(before)
    tree = Tree(begun.size, begun.peaks)
    for number in range(before, before + after):
        tree.append(str(number).encode())

    assert (tree.size, tree.root) == (before + after, tree_over(before + after).root)
    assert begun.root == tree_over(before).root


def shown(ways, data):
    """Returns the ways as pymerkle shows them."""
    return {
        index: (
            [int(step.left) for step in way] + [0],
            [merkle.leaf(data[index]), *(step.hash for step in way)],
        )
        for index, way in ways.items()
    }


def pymerkle_ways(data, indexes):
    tree = pymerkles(data)
    proofs = {index: tree.prove_inclusion(index + 1, len(data)) for index in indexes}
    return {index: (proof.rule, proof.path) for index, proof in proofs.items()}


@pytest.mark.parametrize("size", [*range(34), 64, 127, 128, 129, 130])
def test_the_way_from_every_leaf_is_that_of_pymerkle(size):
    data = [str(number).encode() for number in range(size)]
    ways = merkle.prove((each, True) for each in data)

    assert shown(ways, data) == pymerkle_ways(data, range(size))


@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=200))
def test_the_ways_from_some_leaves_are_those_of_pymerkle_and_no_other_is_kept(leaves):
    data = [each for each, _ in leaves]
    asked = [index for index, (_, wanted) in enumerate(leaves) if wanted]

    assert shown(merkle.prove(iter(leaves)), data) == pymerkle_ways(data, asked)


# when it is sealed


@pytest.fixture
def store(store_url):
    with closing(open_store(store_url)) as opened:
        yield opened


@pytest.fixture
def path(tmp_path):
    return tmp_path / "book.db"


@pytest.fixture
def reopened(path):
    opened = []

    def reopen():
        while opened:
            opened.pop().close()
        opened.append(open_store(f"sqlite:///{path}"))
        return opened[0]

    yield reopen
    for each in opened:
        each.close()


def test_an_empty_book_is_not_sealed(store):
    sealer = Sealer(store, SIGNER)

    assert sealer.seal_if_due() is sealer.seal() is sealer.seal(next_key=OTHER.key) is None
    assert store.seals() == []


def test_the_first_event_is_sealed_at_once_and_then_every_so_many(store):
    sealer = Sealer(store, SIGNER, every_events=3, every_s=60, now=Clock())
    positions = []
    for _ in range(8):
        grow(store)
        made = sealer.seal_if_due()
        positions.append(made and made.position)

    assert positions == [1, None, None, 4, None, None, 7, None]


def test_fewer_events_are_sealed_when_the_last_seal_is_old(store):
    clock = Clock()
    sealer = Sealer(store, SIGNER, every_events=100, every_s=60, now=clock)
    grow(store)
    assert sealer.seal_if_due().sealed_at == clock.text
    grow(store)
    clock.go(59.999999)
    assert sealer.seal_if_due() is None
    clock.go(0.000001)

    assert sealer.seal_if_due().position == 2


YEAR_S = 365 * 86400


@pytest.mark.parametrize("again", [False, True], ids=["the same sealer", "another one"])
def test_a_seal_of_the_future_is_followed_by_others_as_often_as_ever(store, again):
    clock = Clock()

    def sealer():
        return Sealer(store, SIGNER, every_events=100, every_s=60, now=clock)

    sealing = sealer()
    grow(store)
    clock.go(4 * YEAR_S)
    ahead = sealing.seal_if_due()
    clock.go(-4 * YEAR_S)
    sealing = sealer() if again else sealing
    for _ in range(2):
        grow(store)
        assert sealing.seal_if_due() is None
        clock.go(59)
        assert sealing.seal_if_due() is None
        clock.go(1)
        assert sealing.seal_if_due().sealed_at == ahead.sealed_at
    clock.go(5 * YEAR_S)
    grow(store)

    assert sealing.seal_if_due().sealed_at == clock.text


def test_where_nothing_is_new_no_age_makes_a_seal(store):
    clock = Clock()
    sealer = Sealer(store, SIGNER, every_events=1, every_s=60, now=clock)
    grow(store)
    assert sealer.seal_if_due()
    clock.go(86400)

    assert sealer.seal_if_due() is sealer.seal() is None
    assert len(store.seals()) == 1


def test_a_seal_covers_every_event_up_to_the_head(store):
    grow(store, 7)
    made = Sealer(store, SIGNER, now=Clock()).seal()

    assert is_signed(made)
    assert (made.position, made.hash) == (7, store.head().hash.hex())
    assert made.root == pymerkle_root(hashes(store)).hex()
    assert read(store.seals()) == [made] == seals_of(store)
    assert read([store.last_seal()]) == [made]


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
def test_it_reads_page_by_page(store, monkeypatch, page):
    monkeypatch.setattr("ledger.store.PAGE", page)
    for count in (5, 1, 4):
        grow(store, count)
        Sealer(store, SIGNER).seal()

    assert read(store.seals())[-1].root == pymerkle_root(hashes(store)).hex()


def test_it_goes_on_from_the_last_seal_and_reads_nothing_before_it(store, monkeypatch):
    grow(store, 10)
    Sealer(store, SIGNER).seal()
    grow(store, 3)
    asked, records = [], store.records
    monkeypatch.setattr(
        store,
        "records",
        lambda *, after, limit: asked.append(after) or records(after=after, limit=limit),
    )
    made = Sealer(store, SIGNER).seal()
    monkeypatch.undo()

    assert min(asked) == 9
    assert made.root == pymerkle_root(hashes(store)).hex()


def test_it_goes_on_where_it_was_when_the_store_is_opened_again(reopened):
    for count in (1, 6, 13):
        store = reopened()
        grow(store, count)
        made = Sealer(store, SIGNER).seal()
        assert made.root == pymerkle_root(hashes(store)).hex()

    assert [seal.position for seal in seals_of(reopened())] == [1, 7, 20]


@given(st.lists(st.integers(0, 20), max_size=12))
def test_however_it_grows_every_seal_has_the_root_of_its_position(counts):
    with closing(open_store("memory://")) as store:
        sealer = Sealer(store, SIGNER)
        for count in counts:
            grow(store, count)
            sealer.seal()
        data = hashes(store)
        for seal in seals_of(store):
            assert seal.root == pymerkle_root(data[: seal.position]).hex()


def test_a_head_is_sealed_twice_only_where_a_key_hands_over(store):
    grow(store, 3)
    old, new = Sealer(store, SIGNER), Sealer(store, OTHER)
    made = [old.seal(), old.seal(), old.seal(next_key=OTHER.key), new.seal(), new.seal()]

    assert [seal and seal.position for seal in made] == [3, None, 3, 3, None]
    assert seals_of(store) == [seal for seal in made if seal]
    assert {seal.root for seal in seals_of(store)} == {made[0].root}
    assert set(trusted(seals_of(store), SIGNER.key)) == {SIGNER.key, OTHER.key}


def test_every_seal_is_a_line_of_the_file_as_it_stands_in_the_book(store, tmp_path):
    file = tmp_path / "book.seals.jsonl"
    file.write_bytes(b"kept\n")
    sealer = Sealer(store, SIGNER, file=file)
    for _ in range(3):
        grow(store)
        sealer.seal()
        sealer.seal()

    assert file.read_bytes() == b"kept\n" + b"".join(seal + b"\n" for seal in store.seals())
    assert [json.loads(line)["position"] for line in file.read_text().splitlines()[1:]] == [1, 2, 3]


def test_a_book_is_sealed_while_it_is_used(book):
    sealer = Sealer(book.store, SIGNER)
    for command in (controls.place_bet(), controls.result()):
        book.submit(command)
        sealer.seal()

    assert seals_of(book.store)[-1].hash == book.store.head().hash.hex()


# what is not sealed


def sealed_book(reopened, *, events=5):
    store = reopened()
    grow(store, events)
    return Sealer(store, SIGNER).seal()


def refused(reopened):
    store = reopened()
    before = store.seals()
    with pytest.raises(SealContradicted) as contradiction:
        Sealer(store, SIGNER).seal()
    assert store.seals() == before
    return f"{contradiction.value}"


def test_a_cut_tail_is_refused_by_every_way_of_sealing(reopened, path):
    sealed_book(reopened)
    behind(path, "delete from stored_events where position = 5")

    assert refused(reopened) == "the book ends at 4, before its last seal, at 5"
    with pytest.raises(SealContradicted):
        Sealer(reopened(), SIGNER, every_events=1000, every_s=86400).seal_if_due()
    with pytest.raises(SealContradicted):
        Sealer(reopened(), SIGNER).seal(next_key=OTHER.key)


def test_a_book_that_was_emptied_is_refused(reopened, path):
    sealed_book(reopened)
    behind(path, "delete from stored_events")

    assert refused(reopened) == "the book ends at 0, before its last seal, at 5"


def test_a_tail_that_was_cut_and_grew_again_is_refused(reopened, path):
    sealed_book(reopened)
    behind(path, "delete from stored_events where position > 3")
    grow(reopened(), 4, other=True)

    assert refused(reopened) == "the event at 5 is not the one that was sealed"


@pytest.mark.parametrize("more", [0, 1, 3])
@pytest.mark.parametrize("after", [0, 2, 4])
def test_a_past_that_was_rewritten_with_its_chain_is_refused(reopened, path, after, more):
    sealed_book(reopened)
    reopened().close()
    rechain(path, after=after, amount=1)
    grow(reopened(), more)

    assert refused(reopened) == "the event at 5 is not the one that was sealed"


IN_WHAT_IS_NEW = {
    "a changed body": """update stored_events set state = '{"recorded_at":"x"}' where position = 7""",
    "a changed topic": "update stored_events set topic = 'Said' where position = 7",
    "another version": "update stored_events set version = 70 where position = 7",
    "another stream": "update stored_events set stream = 'round/x/y' where position = 7",
    "another hash": "update stored_events set hash = zeroblob(32) where position = 7",
    "one that is missing": "delete from stored_events where position = 7",
}


@pytest.mark.parametrize("statement", IN_WHAT_IS_NEW.values(), ids=IN_WHAT_IS_NEW)
def test_what_is_not_chained_to_what_was_sealed_gets_no_seal(reopened, path, statement):
    sealed_book(reopened)
    grow(reopened(), 4)
    behind(path, statement)

    assert refused(reopened) == "the chain is broken at 7"


@pytest.mark.parametrize("field", FORGED)
def test_a_stored_seal_that_was_forged_is_not_gone_on_from(reopened, path, field):
    seal = sealed_book(reopened)
    forged = json.dumps(asdict(seal) | {field: FORGED[field]})
    behind(path, ("update seals set seal = ?", (forged,)), table="seals")
    grow(reopened())

    assert "is forged" in refused(reopened)


def test_a_stored_seal_that_cannot_be_read_is_said_to_be_so(reopened, path):
    sealed_book(reopened)
    behind(path, "update seals set seal = '{'", table="seals")

    assert "a seal of the book cannot be read" in refused(reopened)
    with pytest.raises(SealContradicted):
        seals_of(reopened())


IMMUTABLE = [
    "update seals set seal = '{}'",
    "update seals set position = 1 where number = 1",
    "delete from seals",
    "delete from seals where number = 2",
    "insert or replace into seals values (1, 1, '{}')",
    "replace into seals values (2, 9, '{}')",
]


@pytest.mark.parametrize("statement", IMMUTABLE)
def test_a_stored_seal_is_never_changed(reopened, path, statement):
    store = reopened()
    for _ in range(2):
        grow(store)
        Sealer(store, SIGNER).seal()
    before = store.seals()
    with (
        closing(apsw.Connection(str(path))) as connection,
        pytest.raises(apsw.ConstraintError, match="seals are immutable"),
    ):
        connection.execute(statement)

    assert reopened().seals() == before


# the auditor who kept one seal


def holds(seal, store):
    """Returns whether a book still is what an old seal says, by the auditor's own means."""
    data = hashes(store)[: seal.position]
    return is_signed(seal) and (
        len(data) == seal.position
        and data[-1].hex() == seal.hash
        and pymerkle_root(data).hex() == seal.root
    )


def test_an_old_seal_holds_in_the_book_that_went_on(reopened):
    kept = sealed_book(reopened)
    for _ in range(3):
        grow(reopened(), 2)
        Sealer(reopened(), SIGNER).seal()

    assert holds(kept, reopened())


@pytest.mark.parametrize("after", range(5))
def test_an_old_seal_finds_a_rewritten_book_though_its_own_seals_agree_with_it(
    reopened, path, after
):
    kept = sealed_book(reopened)
    reopened().close()
    rechain(path, after=after, amount=1)
    behind(path, "delete from seals", table="seals")
    grow(reopened(), 3)
    made = Sealer(reopened(), SIGNER).seal()

    assert holds(made, reopened())
    assert not holds(kept, reopened())


def test_an_old_seal_finds_a_book_that_was_cut(reopened, path):
    kept = sealed_book(reopened)
    behind(path, "delete from stored_events where position > 4")
    behind(path, "delete from seals", table="seals")
    made = Sealer(reopened(), SIGNER).seal()

    assert holds(made, reopened())
    assert not holds(kept, reopened())


def test_who_signs_shows_its_public_key_and_keeps_the_private_one():
    assert [name for name in vars(Signer(ED25519)) if not name.startswith("_")] == ["key"]
