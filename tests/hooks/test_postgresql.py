"""The hook for PostgreSQL, with real servers: in one directory, and in Debian's layout (configuration in /etc)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hooks.bench import Cluster, call, program
from tests.hooks.conftest import Pair


def caught_up(standby: Cluster, primary: Cluster) -> None:
    """Wait until all that was written on `primary` stands on `standby`."""
    position = primary.sql("select pg_current_wal_lsn()")
    while standby.sql(f"select pg_last_wal_replay_lsn() >= '{position}'") != "t":
        pass


def test_a_standby_is_promoted_and_a_stopped_primary_never_comes_back_as_one(clusters: Pair) -> None:
    primary, standby = clusters
    primary.sql("create table t as select 42 as x")
    assert (primary.hook("check").code, standby.hook("check").code) == (0, 1)
    assert standby.hook("stop").code == 0
    assert standby.sql("select pg_is_in_recovery()") == "t", "a standby goes on replicating"
    caught_up(standby, primary)
    assert primary.hook("stop").code == 0
    assert primary.hook("stop").code == 0, "idempotent"
    assert primary.hook("check").code == 1
    assert standby.hook("start").code == 0
    assert standby.hook("start").code == 0, "idempotent"
    assert standby.hook("check").code == 0
    assert standby.sql("select pg_is_in_recovery(), x from t") == "f|42"
    assert standby.sql("insert into t values (43) returning x").startswith("43")
    primary.start()
    assert primary.sql("select pg_is_in_recovery()") == "t"
    assert primary.hook("check").code == 1


def test_a_stopped_standby_is_started_and_promoted(clusters: Pair) -> None:
    primary, standby = clusters
    standby.end()
    primary.kill()
    started = standby.hook("start", HEARTWIRE_NODE="b", HEARTWIRE_EPOCH="2")
    assert started.code == 0, started.words
    assert standby.is_primary()


def test_a_stopped_primary_starts_in_its_own_epoch_and_the_next_if_its_server_saw_no_other(clusters: Pair) -> None:
    primary, _ = clusters
    own = {"HEARTWIRE_NODE": "a", "HEARTWIRE_EPOCH": "1"}
    after = {"HEARTWIRE_NODE": "a", "HEARTWIRE_EPOCH": "2", "HEARTWIRE_EPOCH_BEFORE": "1"}
    assert primary.hook("start", **own).code == 0
    for epoch in (own, after):
        primary.kill()
        assert primary.hook("check", HEARTWIRE_NODE="a").code == 1
        started = primary.hook("start", **epoch)
        assert started.code == 0, started.words
        assert primary.is_primary()


@pytest.mark.parametrize("before", ["", "5", "7", "6x"])
def test_the_next_epoch_is_no_proof_where_the_server_saw_others(plain: Pair, before: str) -> None:
    primary, _ = plain
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="6").code == 0
    primary.kill()
    told = {"HEARTWIRE_NODE": "a", "HEARTWIRE_EPOCH": "7", "HEARTWIRE_EPOCH_BEFORE": before}
    assert primary.hook("start", **told).code == 1


@pytest.mark.parametrize("stopped", ["crash", "crash and stop", "stop"])
def test_a_former_primary_is_never_started_as_one(clusters: Pair, stopped: str) -> None:
    primary, standby = clusters
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="5").code == 0
    caught_up(standby, primary)
    if "crash" in stopped:
        primary.kill()
    if "stop" in stopped:
        assert primary.hook("stop", HEARTWIRE_NODE="a").code == 0
    assert standby.hook("start", HEARTWIRE_NODE="b", HEARTWIRE_EPOCH="6").code == 0
    standby.sql("create table newer()")
    for epoch in ("7", "8"):
        refused = primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH=epoch)
        assert refused.code == 1
        assert "stale" in refused.words and "pg_rewind" in refused.words
        assert primary.hook("check", HEARTWIRE_NODE="a").code == 1
    refused = primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="4")
    assert refused.code == 1, "an older epoch than its own"


def test_a_primary_that_never_ran_under_heartwire_is_not_believed_in_a_later_epoch(plain: Pair) -> None:
    primary, standby = plain
    primary.kill()
    assert standby.hook("start", HEARTWIRE_NODE="b", HEARTWIRE_EPOCH="2").code == 0
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="3").code == 1
    assert primary.hook("stop", HEARTWIRE_NODE="a").code == 0
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="3").code == 1
    standby.end()
    assert primary.hook("adopt", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="3").code == 0
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="3").code == 0
    assert primary.is_primary()


def test_a_running_primary_is_taken_over_and_its_epoch_kept_up_to_date_by_the_check(plain: Pair) -> None:
    primary, _ = plain
    assert primary.hook("check", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="7").code == 0
    assert primary.hook("check", HEARTWIRE_NODE="a").code == 0
    assert primary.hook("check", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="9").code == 0
    primary.kill()
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="11").code == 1
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="9").code == 0


def test_a_former_primary_that_follows_the_new_one_is_promoted_again(plain: Pair) -> None:
    primary, standby = plain
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="5").code == 0
    caught_up(standby, primary)
    assert primary.hook("stop", HEARTWIRE_NODE="a").code == 0
    assert standby.hook("start", HEARTWIRE_NODE="b", HEARTWIRE_EPOCH="6").code == 0
    standby.sql("create table newer as select 1 as x")
    # Stopped in good order, it can follow without pg_rewind.
    with (primary.data / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"primary_conninfo='host={standby.directory} port={standby.port} user=postgres'\n")
    primary.start()
    caught_up(primary, standby)
    started = primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="7")
    assert started.code == 0, started.words
    assert primary.sql("select pg_is_in_recovery(), x from newer") == "f|1"


def test_a_former_primary_that_ran_as_a_standby_but_followed_nobody_is_refused(plain: Pair) -> None:
    primary, standby = plain
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="5").code == 0
    caught_up(standby, primary)
    assert primary.hook("stop", HEARTWIRE_NODE="a").code == 0
    assert standby.hook("start", HEARTWIRE_NODE="b", HEARTWIRE_EPOCH="6").code == 0
    primary.start()
    assert primary.sql("select pg_is_in_recovery()") == "t"
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="7").code == 1
    assert not primary.is_primary()


def test_a_base_backup_brings_no_epoch_of_another_server(plain: Pair) -> None:
    primary, standby = plain
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="5").code == 0
    standby.end()
    standby.follow(primary)
    assert (standby.data / "heartwire-primary").exists()
    primary.kill()
    assert standby.hook("start", HEARTWIRE_NODE="b", HEARTWIRE_EPOCH="9").code == 0
    assert standby.is_primary()


def test_a_fresh_copy_that_was_never_started_is_a_standby(plain: Pair) -> None:
    primary, standby = plain
    standby.end()
    standby.follow(primary)
    standby.end()
    assert standby.hook("start", HEARTWIRE_NODE="b", HEARTWIRE_EPOCH="9").code == 0


def test_one_directory_on_shared_storage_is_never_stale(plain: Pair) -> None:
    primary, _ = plain
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="5").code == 0
    primary.kill()
    words = {"HEARTWIRE_NODE": "b", "HEARTWIRE_EPOCH": "9"}
    assert primary.hook("start", **words).code == 1
    assert primary.hook("start", **words, HEARTWIRE_SHARED_DATA="1").code == 0


@pytest.mark.parametrize("text", ["", "a", "a five 1 1\n", "a 9 x 1\n", "\0\0\0"])
def test_a_damaged_record_is_believed_least(plain: Pair, text: str) -> None:
    primary, _ = plain
    assert primary.hook("check", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="9").code == 0
    primary.kill()
    record = primary.data / "heartwire-primary"
    record.write_text(text)
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="9").code == 1
    assert primary.hook("adopt", HEARTWIRE_EPOCH="9").code == 64
    assert primary.hook("adopt", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="9").code == 0
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="9").code == 0


def test_a_timeline_that_nobody_tells_is_no_later_one(plain: Pair, tmp_path: Path) -> None:
    """pg_controldata knows the state and nothing else: no proof that another primary was followed."""
    primary, _ = plain
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="5").code == 0
    primary.kill()
    (tmp_path / "pg_ctl").symlink_to(primary.bin / "pg_ctl")
    program(tmp_path, "pg_controldata", "echo 'Database cluster state:               in production'")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    assert primary.hook("start", HEARTWIRE_NODE="a", HEARTWIRE_EPOCH="9", PGBIN=str(tmp_path)).code == 1


def test_a_promotion_under_way_is_no_standby(plain: Pair) -> None:
    _, standby = plain
    (standby.data / "heartwire-promoting").touch()
    assert standby.hook("check").code == 0
    assert standby.hook("stop").code == 0
    assert standby.hook("check").code == 1
    assert not (standby.data / "postmaster.pid").exists()


def test_a_start_that_fails_says_why(plain: Pair) -> None:
    primary, _ = plain
    primary.kill()
    (primary.data / "postgresql.auto.conf").write_text("no_such_setting = 1\n")
    failed = primary.hook("start", HEARTWIRE_EPOCH="1")
    assert failed.code == 1
    assert "no_such_setting" in failed.words
    (primary.data / "postgresql.conf").rename(primary.data / "elsewhere.conf")
    failed = primary.hook("start", HEARTWIRE_EPOCH="1")
    assert failed.code == 1
    assert "no postgresql.conf" in failed.words


@pytest.mark.parametrize("verb", ["start", "stop", "check"])
def test_without_its_programs_or_its_disk_nothing_is_known(verb: str, tmp_path: Path) -> None:
    outcome = call("postgresql", verb, str(tmp_path))
    assert outcome.code == 126
    assert "no data directory" in outcome.words
    (tmp_path / "PG_VERSION").write_text("8\n")
    outcome = call("postgresql", verb, str(tmp_path))
    assert outcome.code == 126
    assert "install the server" in outcome.words


@pytest.mark.parametrize("verb", ["start", "stop", "check"])
@pytest.mark.parametrize("code", [4, 1])
def test_a_pg_ctl_that_cannot_tell_is_not_stopped(verb: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("15\n")
    program(tmp_path, "pg_ctl", f"exit {code}")
    program(tmp_path, "pg_controldata", "echo 'Database cluster state:               in archive recovery'")
    assert call("postgresql", verb, str(tmp_path), PGBIN=str(tmp_path)).code == 126


def test_a_control_file_that_says_nothing_is_not_stopped(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("15\n")
    program(tmp_path, "pg_ctl", "exit 0")
    program(tmp_path, "pg_controldata", "exit 1")
    assert call("postgresql", "check", str(tmp_path), PGBIN=str(tmp_path)).code == 126
    assert call("postgresql", "stop", str(tmp_path), PGBIN=str(tmp_path)).code == 126
    assert call("postgresql", "start", str(tmp_path), PGBIN=str(tmp_path)).code != 0


def test_a_wrong_call(tmp_path: Path) -> None:
    assert call("postgresql").code == 64
    assert call("postgresql", "dance", str(tmp_path)).code == 64
    assert call("postgresql", "check", str(tmp_path), HEARTWIRE_EPOCH="five").code == 64
