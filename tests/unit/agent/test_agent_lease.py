"""The lease: every row of its table, and properties that hold for any sequence of grants and times."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartwire.agent.lease import NS_PER_MS, Grant, Lease, Loss, Verdict, Wish
from heartwire_protocol import codes, messages
from tests.unit.agent.agent_fakes import ACTIVE, STANDBY, ms

T0 = ms(10_000)
ADVISORY = messages.ORDER_ADVISORY
DRAIN = messages.ORDER_DRAIN
REVOKE = messages.ORDER_REVOKE
HOLD = messages.ORDER_HOLD
OTHER_ROLES = (codes.ROLE_OFFLINE, codes.ROLE_STANDBY, codes.ROLE_QUARANTINED)


def grant(
    sequence: int = 1, role: int = ACTIVE, orders: int = 0, epoch: int = 5, lease_ms: int = 8000, sent: int = T0
) -> Grant:
    return Grant(sequence, sent, role, orders, epoch, lease_ms)


def granted(loss: Loss = Loss.HOLD) -> Lease:
    lease = Lease(loss, 5)
    assert lease.take(grant(), T0 + ms(3)) is Verdict.ACCEPTED
    return lease


def test_runs_from_the_sending_time_not_from_the_receipt() -> None:
    lease = Lease(Loss.STOP, 0)
    lease.take(grant(sent=T0), T0 + ms(5000))
    assert lease.judge(T0 + ms(7999)).wish is Wish.RUN
    assert lease.judge(T0 + ms(7999)).left_ms == 1
    assert lease.judge(T0 + ms(8000)).wish is Wish.STOP


@pytest.mark.parametrize(("loss", "wish"), [(Loss.HOLD, Wish.KEEP), (Loss.STOP, Wish.STOP)])
def test_a_lease_that_ran_out(loss: Loss, wish: Wish) -> None:
    judged = granted(loss).judge(T0 + ms(60_000))
    assert (judged.wish, judged.entitled, judged.left_ms, judged.reason) == (wish, False, 0, "lease_over")


@pytest.mark.parametrize(("loss", "wish"), [(Loss.HOLD, Wish.KEEP), (Loss.STOP, Wish.STOP)])
def test_before_the_first_grant_nothing_starts(loss: Loss, wish: Wish) -> None:
    assert Lease(loss, 0).judge(T0).wish is wish


def test_the_time_to_stop_counts_from_the_end_of_the_lease() -> None:
    lease = granted(Loss.STOP)
    assert lease.judge(T0 + ms(60_000)).stop_since_ns == T0 + ms(8000)
    lease.take(grant(2, STANDBY, sent=T0 + ms(59_000)), T0 + ms(60_000))
    assert lease.judge(T0 + ms(61_000)).stop_since_ns == T0 + ms(8000)


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("role", OTHER_ROLES)
def test_any_other_role_stops_at_once(loss: Loss, role: int) -> None:
    lease = granted(loss)
    lease.take(grant(2, role), T0 + ms(100))
    judged = lease.judge(T0 + ms(100))
    assert (judged.wish, judged.entitled, judged.stop_since_ns) == (Wish.STOP, False, T0 + ms(100))


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("orders", [REVOKE, REVOKE | HOLD, REVOKE | DRAIN])
@pytest.mark.parametrize("epoch", [4, 5, 6])
def test_revoke_is_obeyed_in_any_role_and_epoch(loss: Loss, orders: int, epoch: int) -> None:
    lease = granted(loss)
    assert lease.take(grant(2, ACTIVE, orders, epoch), T0 + ms(100)) is Verdict.ACCEPTED
    assert lease.judge(T0 + ms(100)).wish is Wish.STOP
    assert not lease.judge(T0 + ms(100)).entitled


def test_a_revoked_lease_does_not_come_back_by_time_or_old_grants() -> None:
    lease = granted()
    lease.take(grant(3, STANDBY, REVOKE), T0 + ms(100))
    assert lease.take(grant(2, sent=T0 + ms(50)), T0 + ms(110)) is Verdict.OLD
    assert lease.take(grant(3, sent=T0 + ms(50)), T0 + ms(110)) is Verdict.OLD
    assert lease.judge(T0 + ms(120)).wish is Wish.STOP


def test_a_second_grant_for_one_heartbeat_may_only_take_away_or_raise_the_epoch() -> None:
    lease = granted()
    assert lease.take(grant(1, lease_ms=60_000), T0 + ms(100)) is Verdict.OLD
    assert lease.take(grant(1, STANDBY), T0 + ms(100)) is Verdict.ACCEPTED
    assert lease.take(grant(1), T0 + ms(200)) is Verdict.OLD, "an old grant came again and gave the lease back"
    assert lease.judge(T0 + ms(200)).wish is Wish.STOP
    assert lease.take(grant(1, epoch=6), T0 + ms(300)) is Verdict.ACCEPTED
    assert lease.judge(T0 + ms(300)).wish is Wish.RUN


@pytest.mark.parametrize("role", [ACTIVE, *OTHER_ROLES])
def test_a_lower_epoch_counts_as_no_grant(role: int) -> None:
    lease = granted()
    assert lease.take(grant(2, role, epoch=4, sent=T0 + ms(5000)), T0 + ms(5001)) is Verdict.LOWER_EPOCH
    assert lease.epoch == 5
    assert lease.judge(T0 + ms(7999)).wish is Wish.RUN
    assert lease.judge(T0 + ms(8001)).wish is Wish.KEEP


@pytest.mark.parametrize("role", [ACTIVE, STANDBY])
def test_a_higher_epoch_is_remembered(role: int) -> None:
    lease = granted()
    lease.take(grant(2, role, epoch=9), T0 + ms(100))
    assert lease.epoch == 9
    assert lease.take(grant(3, epoch=8), T0 + ms(200)) is Verdict.LOWER_EPOCH


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("role", [ACTIVE, *OTHER_ROLES])
@pytest.mark.parametrize("more", [0, REVOKE, DRAIN])
def test_advisory_touches_nothing_and_entitles_to_nothing(loss: Loss, role: int, more: int) -> None:
    lease = granted(loss)
    assert lease.take(grant(2, role, ADVISORY | more, epoch=1), T0 + ms(100)) is Verdict.ACCEPTED
    for later in (0, 100, 1_000_000):
        judged = lease.judge(T0 + ms(100 + later))
        assert (judged.wish, judged.entitled) == (Wish.ADVISORY, False)
    assert lease.epoch == 5


def test_drain_keeps_the_lease_until_it_runs_out() -> None:
    lease = granted()
    lease.take(grant(2, ACTIVE, DRAIN), T0 + ms(100))
    assert lease.judge(T0 + ms(200)) == (Wish.DRAIN, True, 7800, T0 + ms(100), "drain")
    over = lease.judge(T0 + ms(9000))
    assert (over.wish, over.entitled, over.stop_since_ns) == (Wish.DRAIN, False, T0 + ms(8000))


def test_a_drain_taken_back_lets_the_services_run() -> None:
    lease = granted()
    lease.take(grant(2, ACTIVE, DRAIN), T0 + ms(100))
    lease.take(grant(3), T0 + ms(200))
    assert lease.judge(T0 + ms(300)).wish is Wish.RUN


def test_active_without_a_lease_starts_nothing_and_takes_nothing_away() -> None:
    lease = Lease(Loss.HOLD, 0)
    lease.take(grant(1, lease_ms=0), T0)
    assert lease.judge(T0).wish is Wish.KEEP
    lease.take(grant(2), T0 + ms(100))
    lease.take(grant(3, lease_ms=0), T0 + ms(200))
    assert lease.judge(T0 + ms(300)).wish is Wish.RUN
    assert lease.judge(T0 + ms(8001)).wish is Wish.KEEP


def test_a_lease_of_an_older_epoch_does_not_start_a_new_one() -> None:
    lease = granted(Loss.STOP)
    lease.take(grant(2, epoch=6, lease_ms=0), T0 + ms(100))
    assert lease.judge(T0 + ms(200)).wish is Wish.KEEP
    assert lease.judge(T0 + ms(8001)).wish is Wish.STOP


@pytest.mark.parametrize("role", OTHER_ROLES)
@pytest.mark.parametrize("loss", list(Loss))
def test_a_board_that_holds_takes_no_lease_away_and_gives_none(role: int, loss: Loss) -> None:
    lease = granted(loss)
    lease.take(grant(2, role, HOLD, sent=T0 + ms(5000)), T0 + ms(5001))
    judged = lease.judge(T0 + ms(7999))
    assert (judged.wish, judged.entitled, judged.left_ms) == (Wish.KEEP, False, 1)
    over = lease.judge(T0 + ms(8000))
    assert over.wish is (Wish.KEEP if loss is Loss.HOLD else Wish.STOP)
    assert over.stop_since_ns == T0 + ms(8000)


@pytest.mark.parametrize("loss", list(Loss))
def test_a_lease_kept_through_a_hold_runs_on_when_the_board_grants_again(loss: Loss) -> None:
    lease = granted(loss)
    lease.take(grant(2, STANDBY, HOLD, sent=T0 + ms(5000)), T0 + ms(5001))
    lease.take(grant(3, ACTIVE, HOLD, sent=T0 + ms(6000), lease_ms=0), T0 + ms(6001))
    assert lease.judge(T0 + ms(6001)).wish is Wish.RUN
    lease.take(grant(4, sent=T0 + ms(7000)), T0 + ms(7001))
    assert lease.judge(T0 + ms(14_999)).wish is Wish.RUN


@pytest.mark.parametrize("role", OTHER_ROLES)
def test_a_hold_that_names_a_higher_epoch_ends_the_lease(role: int) -> None:
    lease = granted(Loss.STOP)
    lease.take(grant(2, role, HOLD, epoch=6), T0 + ms(100))
    judged = lease.judge(T0 + ms(100))
    assert (judged.wish, judged.left_ms, judged.stop_since_ns) == (Wish.STOP, 0, T0 + ms(100))


@pytest.mark.parametrize("role", OTHER_ROLES)
@pytest.mark.parametrize("orders", [0, REVOKE, REVOKE | HOLD])
def test_what_a_hold_has_kept_a_revoke_still_ends(role: int, orders: int) -> None:
    lease = granted(Loss.HOLD)
    lease.take(grant(2, STANDBY, HOLD), T0 + ms(100))
    lease.take(grant(3, role, orders), T0 + ms(200))
    assert (lease.judge(T0 + ms(200)).wish, lease.until_ns) == (Wish.STOP, 0)
    lease.take(grant(4, STANDBY, HOLD), T0 + ms(300))
    assert lease.judge(T0 + ms(300)).left_ms == 0, "a lease that ended came back"


def test_a_resumed_lease_is_kept_through_a_hold_of_its_epoch_only() -> None:
    for held, wish in ((5, Wish.KEEP), (6, Wish.STOP)):
        lease = Lease(Loss.STOP, 5, T0 + ms(1000), T0)
        lease.take(grant(1, STANDBY, HOLD, epoch=held), T0 + ms(10))
        assert lease.judge(T0 + ms(20)).wish is wish
        assert lease.judge(T0 + ms(1000)).wish is Wish.STOP
    older = Lease(Loss.STOP, 6, T0 + ms(1000), T0, resumed_epoch=5)
    older.take(grant(1, STANDBY, HOLD, epoch=6), T0 + ms(10))
    assert older.judge(T0 + ms(20)).wish is Wish.STOP


def test_an_advisory_time_takes_no_lease_away_and_gives_none() -> None:
    lease = granted(Loss.STOP)
    lease.take(grant(2, ACTIVE, ADVISORY, sent=T0 + ms(1000)), T0 + ms(1001))
    lease.take(grant(3, STANDBY, HOLD, lease_ms=0, sent=T0 + ms(2000)), T0 + ms(2001))
    assert lease.judge(T0 + ms(7999)).wish is Wish.KEEP
    assert lease.judge(T0 + ms(8000)).wish is Wish.STOP


def test_a_resumed_lease_keeps_but_never_starts() -> None:
    lease = Lease(Loss.STOP, 5, resumed_until_ns=T0 + ms(1000), started_ns=T0)
    assert lease.judge(T0).wish is Wish.KEEP
    lease.take(grant(1, lease_ms=0), T0 + ms(10))
    assert lease.judge(T0 + ms(20)).wish is Wish.KEEP
    assert lease.judge(T0 + ms(1000)).wish is Wish.STOP
    assert lease.judge(T0 + ms(1000)).stop_since_ns == T0 + ms(1000)


def test_an_expired_grant_gives_nothing() -> None:
    lease = Lease(Loss.STOP, 0)
    lease.take(grant(sent=T0, lease_ms=1000), T0 + ms(30_000))
    assert lease.judge(T0 + ms(30_000)).wish is Wish.STOP


def test_a_grant_from_the_future_is_refused() -> None:
    assert Lease(Loss.HOLD, 0).take(grant(sent=T0 + 1), T0) is Verdict.OLD


def test_a_new_incarnation_counts_from_one_again() -> None:
    lease = granted()
    lease.take(grant(1000), T0 + ms(100))
    lease.restart()
    assert lease.take(grant(1, sent=T0 + ms(200)), T0 + ms(201)) is Verdict.ACCEPTED


# Any history: (how much later, how long the grant travelled, sequence step, role, orders, epoch, lease).
HISTORY = st.lists(
    st.tuples(
        st.integers(0, 20_000),
        st.integers(0, 20_000),
        st.integers(-2, 3),
        st.sampled_from([ACTIVE, ACTIVE, ACTIVE, *OTHER_ROLES]),
        st.sampled_from([0, 0, 0, DRAIN, HOLD, REVOKE, ADVISORY, ADVISORY | REVOKE]),
        st.integers(0, 6),
        st.sampled_from([0, 1, 1000, 8000, 16_777_215]),
    ),
    max_size=30,
)


@settings(max_examples=400, deadline=None)
@given(HISTORY, st.sampled_from(list(Loss)), st.integers(0, 6), st.integers(0, 40_000))
def test_whatever_comes_the_rules_hold(history: list[tuple[int, ...]], loss: Loss, epoch: int, after_ms: int) -> None:
    lease = Lease(loss, epoch)
    now = T0 + ms(100_000)
    sequence = 10
    highest = epoch
    newest_accepted = 0
    # The latest moment up to which any grant seen so far, valid by its own epoch, could entitle.
    latest_end = 0
    last: Grant | None = None
    for later, travelled, step, role, orders, grant_epoch, lease_ms in history:
        now += ms(later)
        sequence += step
        new = Grant(max(1, sequence), now - ms(travelled), role, orders, grant_epoch, lease_ms)
        verdict = lease.take(new, now)
        if verdict is Verdict.ACCEPTED:
            takes = role != ACTIVE or not lease_ms or orders & (DRAIN | REVOKE | ADVISORY)
            assert new.sequence > newest_accepted or takes or grant_epoch > highest
            assert new.sequence >= newest_accepted
            last = new
            if not orders & ADVISORY:
                highest = max(highest, grant_epoch)
                if orders & REVOKE or (role != ACTIVE and not orders & HOLD):
                    latest_end = 0
            if role == ACTIVE and not orders & (ADVISORY | REVOKE):
                assert grant_epoch == highest, "a lower epoch was accepted"
                latest_end = max(latest_end, new.sent_ns + lease_ms * NS_PER_MS)
        newest_accepted = max(newest_accepted, new.sequence)
        assert lease.epoch == highest
        for probe in (now, now + ms(after_ms)):
            judged = lease.judge(probe)
            if judged.entitled:
                assert probe < latest_end
                assert last is not None and last.role == ACTIVE
                assert not last.orders & (REVOKE | ADVISORY)
            if judged.wish is Wish.RUN:
                assert judged.entitled
            if last is None:
                assert judged.wish is (Wish.KEEP if loss is Loss.HOLD else Wish.STOP)
            elif last.orders & ADVISORY:
                assert judged.wish is Wish.ADVISORY
            elif last.orders & REVOKE or (last.role != ACTIVE and not last.orders & HOLD):
                assert judged.wish is Wish.STOP
            if loss is Loss.STOP and judged.wish is Wish.KEEP:
                assert probe < latest_end
            if judged.wish in (Wish.STOP, Wish.DRAIN):
                assert judged.stop_since_ns <= probe


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_judging_changes_nothing(first_ms: int, second_ms: int) -> None:
    lease = granted(Loss.STOP)
    expected = lease.judge(T0 + ms(second_ms))
    lease.judge(T0 + ms(first_ms))
    assert lease.judge(T0 + ms(second_ms)) == expected
