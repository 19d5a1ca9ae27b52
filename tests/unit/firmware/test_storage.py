"""What is durable stays whole: slots, durable state, settings on trial, journal rings; at every power cut."""

from __future__ import annotations

from typing import Any

import pytest

from heartwire_firmware import config, journal, journal_reader, slots
from heartwire_firmware.clock import Clock
from heartwire_protocol import codes, events, framing, reasons, records, settings
from tests.fakes.hardware import FakeFiles, FakeTicks, PowerCut


def make_journal(files: FakeFiles) -> journal.Journal:
    ticks = FakeTicks()
    made = journal.Journal(files, Clock(ticks.ticks_ms, ticks.ticks_diff))
    made.load()
    return made


def read_all(found: journal.Journal) -> list[dict[str, Any]]:
    rows = []
    record = bytearray(records.LENGTH)
    after = 0
    reader = journal_reader.Reader(found)
    while sequence := reader.step(after, record):
        if sequence != journal_reader.WAITS:
            rows.append(records.decode(record))
            after = sequence
    return rows


@pytest.mark.parametrize("after", [False, True])
def test_slots_hold_the_old_or_the_new_copy_at_every_cut(after: bool) -> None:
    for cut in range(4):
        files = FakeFiles()
        files.cut_at, files.cut_after = cut, after
        store = slots.TwoSlots(files, "x")
        written = [b""]
        try:
            for number in range(4):
                written.append(b"copy %d" % number)
                assert store.save(written[-1])
        except PowerCut:
            pass
        found = slots.TwoSlots(FakeFiles(files.contents), "x")
        assert (found.load() or b"") in written[-2:], (cut, after)


def test_damaged_newest_slot_gives_the_one_before() -> None:
    files = FakeFiles()
    store = slots.TwoSlots(files, "x")
    store.save(b"one")
    store.save(b"two")
    name = next(name for name, data in files.contents.items() if b"two" in data)
    files.contents[name] = files.contents[name][:-1] + b"?"
    again = slots.TwoSlots(files, "x")
    assert again.load() == b"one" and again.damaged
    again.save(b"three")
    assert slots.TwoSlots(files, "x").load() == b"three"


def test_cut_while_the_first_copy_is_written_is_no_damage() -> None:
    # littlefs makes the file when it is opened and fills it when it is closed.
    files = FakeFiles()
    slots.TwoSlots(files, "x").save(b"one")
    files.contents["x.1"] = b""
    again = slots.TwoSlots(files, "x")
    assert again.load() == b"one" and not again.damaged


def test_settings_of_a_later_firmware_keep_what_is_known() -> None:
    files = FakeFiles()
    text = "board.dead_ms=20000\nboard.later=1\nboard.configure_key=" + "5a" * 32 + "\nnode.a.later=x\n"
    assert slots.TwoSlots(files, "settings").save(text.encode(), config.CONFIRMED)
    store = config.Config(files)
    store.load()
    assert (store.current.board.dead_ms, store.current.board.configure_key, store.generation) == (20000, "5a" * 32, 1)
    assert store.problem == reasons.NONE
    # What a person uploads is not for a later firmware, but mistyped.
    assert [path for path, _ in upload(store, text)] == ["board.later", "node.a.later"]


def upload(store: config.Config, text: str) -> list[tuple[str, str]]:
    data = text.encode()
    assert store.begin(len(data), framing.crc16(data, len(data)))
    for at in range(0, len(data), 7):
        assert store.put(at, data[at : at + 7])
    new, problems = store.check_upload()
    if not problems:
        assert store.apply(new)
    return problems


def test_settings_on_trial_come_back_unless_confirmed() -> None:
    files = FakeFiles()
    store = config.Config(files)
    store.load()
    assert upload(store, "board.dead_ms=20000\n") == []
    assert store.current.board.dead_ms == 20000 and store.trial_ms == config.TRIAL_MS
    again = config.Config(files)
    again.load()
    assert again.current.board.dead_ms == 10000 and again.problem == reasons.RESET_ON_TRIAL
    assert not store.step(59999)
    assert store.step(1)
    assert store.current.board.dead_ms == 10000


def test_confirmed_settings_stay() -> None:
    files = FakeFiles()
    store = config.Config(files)
    store.load()
    upload(store, "board.dead_ms=20000\n")
    assert not store.confirm(99)
    assert store.confirm(store.generation)
    upload(store, "board.dead_ms=30000\n")
    again = config.Config(files)
    again.load()
    assert again.current.board.dead_ms == 20000 and again.problem == reasons.RESET_ON_TRIAL


def loaded(files: FakeFiles) -> config.Config:
    store = config.Config(FakeFiles(dict(files.contents)))
    store.load()
    return store


@pytest.mark.parametrize("trials", [1, 2, 3])
@pytest.mark.parametrize("end", ["restart", "revert", "expire", "confirm"])
@pytest.mark.parametrize("confirmed", [False, True])
def test_however_many_trials_the_confirmed_copy_outlives_them(confirmed: bool, end: str, trials: int) -> None:
    files = FakeFiles()
    store = config.Config(files)
    store.load()
    wanted = ""
    for _ in range(2):
        if confirmed:
            wanted = f"board.name=kept\nnode.a.key={'cd' * 32}\n"
            upload(store, wanted)
            assert store.confirm(store.generation)
        for number in range(trials):
            assert upload(store, f"board.name=trial {number}\n") == []
            assert loaded(files).current.text() == wanted, "cut off on trial"
        if end == "revert":
            assert store.revert()
        elif end == "expire":
            assert store.step(config.TRIAL_MS)
        elif end == "confirm":
            assert store.confirm(store.generation)
            wanted = f"board.name=trial {trials - 1}\n"
        again = loaded(files)
        assert again.current.text() == wanted
        assert not again.lost, "a board that was never confirmed has lost nothing"
        if end == "restart":
            store = config.Config(files)
            store.load()


def test_trials_at_every_cut_leave_the_confirmed_settings() -> None:
    for cut in range(6):
        for after in (False, True):
            files = FakeFiles()
            store = config.Config(files)
            store.load()
            upload(store, "board.name=kept\n")
            store.confirm(store.generation)
            files.operations, files.cut_at, files.cut_after = 0, cut, after
            try:
                upload(store, "board.name=one\n")
                upload(store, "board.name=two\n")
                store.revert()
                upload(store, "board.name=three\n")
                upload(store, "board.name=four\n")
            except PowerCut:
                pass
            assert loaded(files).current.board.name == "kept", (cut, after)


@pytest.mark.parametrize("damage", ["slot 0", "both", "two trials", "other limits"])
def test_settings_that_were_confirmed_and_cannot_be_had_are_lost_not_open_defaults(damage: str) -> None:
    files = FakeFiles()
    store = config.Config(files)
    store.load()
    upload(store, f"node.a.key={'cd' * 32}\n")
    store.confirm(store.generation)
    name = next(iter(files.contents))
    if damage == "both":
        upload(store, "board.name=x\n")
        store.confirm(store.generation)
    if damage in ("slot 0", "both"):
        for name in list(files.contents):
            files.contents[name] = files.contents[name][:-1] + b"?"
    elif damage == "two trials":  # as firmware left them that let a second trial take the confirmed copy's place
        both = slots.TwoSlots(files, "settings")
        both.load()
        both.save(b"", config.TRIAL)
        both.save(b"", config.TRIAL)
    else:
        both = slots.TwoSlots(files, "settings")
        both.save(b"board.dead_ms=1\n", config.CONFIRMED)
        files.contents = {name: data for name, data in files.contents.items() if b"dead_ms" in data}
    again = loaded(files)
    assert again.lost and again.problem != reasons.NONE


def test_settings_that_an_older_firmware_took_are_kept_and_new_ones_of_their_kind_refused() -> None:
    files = FakeFiles()
    text = f"board.operate_key={'cd' * 32}\n"
    slots.TwoSlots(files, "settings").save(text.encode(), config.CONFIRMED)
    store = loaded(files)
    assert not store.lost and store.current.text() == text
    assert upload(store, text)[0][0] == "board.configure_key"


def test_a_key_may_move_to_the_place_of_the_one_before_it_by_its_fingerprint() -> None:
    store = config.Config(FakeFiles())
    store.load()
    old, new = "cd" * 32, "ef" * 32
    upload(store, f"node.a.key={old}\nnode.a.key_next={new}\n")
    store.confirm(store.generation)
    assert upload(store, f"node.a.key={settings.fingerprint(new)}\n") == []
    assert (store.current.nodes[0].key, store.current.nodes[0].key_next) == (new, "")


def test_bad_settings_are_refused_and_the_old_ones_stay() -> None:
    store = config.Config(FakeFiles())
    store.load()
    for text, path in (
        ("board.speed=1\n", "board.speed"),
        ("board.dead_ms=1\n", "board.dead_ms"),
        ("board.dead_ms=4000\n", "board.dead_ms"),
    ):
        problems = upload(store, text)
        assert problems and problems[0][0] == path
        assert store.current.text() == ""
    data = b"board.dead_ms=20000\n"
    store.begin(len(data), 1)
    store.put(0, data)
    assert store.check_upload()[1][0][0] == "settings", "a wrong CRC"


def test_key_given_as_fingerprint_is_kept() -> None:
    store = config.Config(FakeFiles())
    store.load()
    key = "cd" * 32
    upload(store, f"node.a.key={key}\n")
    store.confirm(store.generation)
    assert upload(store, f"board.name=x\nnode.a.key={settings.fingerprint(key)}\n") == []
    assert store.current.nodes[0].key == key
    assert upload(store, "node.a.key=key:00000000\n"), "a fingerprint of no known key is no key"


def test_settings_at_every_cut_are_the_old_or_the_new_ones_whole() -> None:
    for cut in range(4):
        for after in (False, True):
            files = FakeFiles()
            store = config.Config(files)
            store.load()
            upload(store, "board.name=old\n")
            store.confirm(store.generation)
            files.operations = 0
            files.cut_at, files.cut_after = cut, after
            confirmed = False
            try:
                upload(store, "board.name=new\n")
                store.confirm(store.generation)
                confirmed = True
            except PowerCut:
                pass
            again = config.Config(FakeFiles(files.contents))
            again.load()
            assert again.current.board.name in ("old", "new")
            assert again.current.board.name == "new" or not confirmed


def test_journal_shows_only_what_is_durable() -> None:
    found = make_journal(FakeFiles())
    found.append(events.BOOT, 3)
    assert read_all(found) == []
    assert found.flush()
    assert [row["event"] for row in read_all(found)] == [events.BOOT]


def test_journal_goes_on_after_a_restart_with_rising_numbers_and_an_unbroken_chain() -> None:
    files = FakeFiles()
    for _ in range(5):
        found = make_journal(files)
        for number in range(70):
            found.append(events.LATE if number % 3 else events.DEAD, 0, 0, number)
            if number % 11 == 0:
                assert found.flush()
        assert found.flush()
    rows = read_all(found)
    assert [row["sequence"] for row in rows] == list(range(1, 351))
    chains = [records.CHAIN_START, records.CHAIN_START]
    for row in rows:
        ring = events.ring_of(row["event"])
        record = bytearray(records.LENGTH)
        chains[ring] = records.encode_into(record, [row[name] for name, _, _ in records.FIELDS], chains[ring])
        assert chains[ring] == row["chain"], row["sequence"]


def test_last_sequence_is_given_out_once_and_what_comes_after_is_counted() -> None:
    files = FakeFiles()
    before = bytearray(records.LENGTH)
    first = codes.COUNT_MAX - 3
    records.encode_into(before, [first, 0, 0, 0, events.BOOT, 0, 3, 0, 0, 0, 0], records.CHAIN_START)
    files.contents[f"d{first:08x}"] = bytes(before)
    for _life in range(2):
        found = make_journal(files)
        numbers = [found.append(events.DEAD, 0) for _ in range(5)]
        assert found.flush()
        assert [row["sequence"] for row in read_all(found)] == [first, first + 1, first + 2]
    assert numbers == [0] * 5
    assert found.lost >= 5


def test_flood_of_routine_records_pushes_out_no_decision() -> None:
    files = FakeFiles()
    found = make_journal(files)
    found.append(events.FENCE_FIRED, 0)
    refused = 0
    for _ in range(200):
        for _ in range(60):
            refused += 0 if found.append(events.LATE, 0) else 1
        found.append(events.DEAD, 1)
        assert found.flush()
    rows = read_all(found)
    decisions = [row for row in rows if row["event"] in (events.FENCE_FIRED, events.DEAD)]
    assert len(decisions) == 201
    assert found.lost == refused > 0
    assert [row for row in rows if row["event"] == events.JOURNAL_LOST]
    assert len([name for name in files.contents if name[0] == "r"]) == journal.SEGMENTS[1]


def test_torn_tail_is_left_alone_and_nothing_before_it_is_lost() -> None:
    for keep in (1, 20, 41, 43, 83):
        files = FakeFiles()
        found = make_journal(files)
        for number in range(3):
            found.append(events.DEAD, 0, 0, number)
        found.flush()
        name = next(iter(files.contents))
        files.contents[name] = files.contents[name][:keep]
        again = make_journal(files)
        again.append(events.BOOT, 3)
        assert again.flush()
        rows = read_all(again)
        assert len(rows) == keep // records.LENGTH + 1, keep
        assert rows[-1]["event"] == events.BOOT


def test_records_wait_while_flash_is_full_and_none_is_lost() -> None:
    files = FakeFiles()
    found = make_journal(files)
    files.full = True
    for number in range(10):
        found.append(events.DEAD, 0, 0, number)
    assert not found.flush() and found.failed and read_all(found) == []
    files.full = False
    assert found.flush()
    assert [row["a"] for row in read_all(found)] == list(range(10))


def test_append_that_tears_is_written_again_in_a_new_segment() -> None:
    files = FakeFiles()
    found = make_journal(files)
    found.append(events.BOOT, 3)
    found.flush()
    found.append(events.DEAD, 0)
    files.torn = True
    assert not found.flush()
    files.torn = False
    assert found.flush()
    assert [row["event"] for row in read_all(found)] == [events.BOOT, events.DEAD]
    assert [row["event"] for row in read_all(make_journal(files))] == [events.BOOT, events.DEAD]


def test_no_acknowledged_record_is_lost_at_any_cut() -> None:
    for cut in range(40):
        for after in (False, True):
            files = FakeFiles()
            files.cut_at, files.cut_after = cut, after
            shown: list[int] = []
            try:
                found = make_journal(files)
                for number in range(300):
                    found.append(events.LATE if number % 2 else events.DEAD, 0)
                    if number % 8 == 7:
                        found.flush()
                        shown = [row["sequence"] for row in read_all(found)]
            except PowerCut:
                pass
            kept = [row["sequence"] for row in read_all(make_journal(FakeFiles(files.contents)))]
            assert set(shown) <= set(kept), (cut, after)


def test_a_decision_is_durable_before_the_routine_records_that_came_first() -> None:
    found = make_journal(FakeFiles())
    routine = found.append(events.LATE, 0)
    intent = found.append(events.FENCE_PREPARED, 0)
    while found.decided < intent:
        assert found.step()
    assert found.waiting == 1
    assert found.durable == routine - 1, "told before the record before it is durable"
    assert found.flush()
    assert found.durable == intent


def test_what_comes_between_the_parts_of_a_write_waits_for_the_next_one() -> None:
    for parts in range(1, 12):
        files = FakeFiles()
        found = make_journal(files)
        for number in range(30):
            found.append(events.LATE if number % 3 else events.DEAD, 0, 0, number)
            if found.waiting > parts:
                for _ in range(parts):
                    assert not found.waiting or found.step()
        assert found.flush()
        for again in (found, make_journal(files)):
            assert [row["a"] for row in read_all(again)] == list(range(30)), parts
