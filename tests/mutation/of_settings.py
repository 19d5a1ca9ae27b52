"""Mutants of what a change of settings may do: trial, wiring, the stored copies, keys."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

_TRIAL = "test unit/firmware/test_trial.py::"
_WIRING = "test unit/firmware/test_wiring.py::"
_KEYS = "test unit/firmware/test_keys.py::"
_STORAGE = "test unit/firmware/test_storage.py::"
_NOT_FOLLOWED = "test_a_change_that_a_healthy_node_does_not_follow_cuts_nobody_and_is_not_kept"

MUTANTS = (
    Mutant(
        "a second trial overwrites the confirmed copy",
        "config.py",
        "TRIAL, self.trial_ms > 0)",
        "TRIAL)",
        _STORAGE + "test_however_many_trials_the_confirmed_copy_outlives_them",
    ),
    Mutant(
        "lost settings are open defaults",
        "config.py",
        "            self.lost = True\n",
        "",
        _STORAGE + "test_settings_that_were_confirmed_and_cannot_be_had_are_lost_not_open_defaults",
    ),
    Mutant(
        "an automatic fence on trial",
        "guards.py",
        "    return bool(facts.on_trial)",
        "    return False",
        _TRIAL + "test_nothing_automatic_happens_on_trial_and_all_that_is_due_after_it",
    ),
    Mutant(
        "an unproven line excuses nothing",
        "guards.py",
        "    return bool(facts.unproven[node])",
        "    return False",
        _TRIAL + "test_a_node_with_another_key_after_the_trial_is_left_alone_and_told",
    ),
    Mutant(
        "a trial is confirmed whoever is missing",
        "hostlink_settings.py",
        "node = self._trial.missing() if on_trial else NO_NODE",
        "node = NO_NODE",
        _TRIAL + _NOT_FOLLOWED,
    ),
    Mutant(
        "one good heartbeat proves a line",
        "trial.py",
        "streak >= settings.good_count",
        "streak >= 1",
        _TRIAL + "test_a_change_is_proven_only_by_good_heartbeats_in_a_row",
    ),
    Mutant(
        "the excuse after a trial never ends",
        "trial.py",
        "            self._back[node] = back\n",
        "            self._back[node] = False\n",
        _TRIAL + "test_a_server_that_died_on_trial_is_replaced_once_its_line_has_carried_nothing_for_dead_ms",
    ),
    Mutant(
        "a trial costs a stop node its lease",
        "trial.py",
        "if self._stops_soon() and not fences:",
        "if False:",
        _TRIAL + "test_an_active_stop_node_keeps_its_services_through_a_trial_that_silences_it",
    ),
    Mutant(
        "a trial ends in the middle of a fence",
        "trial.py",
        "fences = self._sequencer.busy",
        "fences = False",
        _TRIAL + "test_a_trial_does_not_end_in_the_middle_of_a_fence",
    ),
    Mutant(
        "a second trial owes nothing",
        "trial.py",
        "self._wanted[node] = self._wanted[node] or self._is_good(node)",
        "self._wanted[node] = self._is_good(node)",
        _TRIAL + "test_a_second_trial_that_mends_the_first_is_kept_and_still_owes_what_the_first_owed",
    ),
    Mutant(
        "every change of settings sets up the lines anew",
        "supervisor.py",
        "if self._bauds[node] != current.nodes[node].baud:",
        "if True:",
        _TRIAL + "test_setting_up_a_line_anew_loses_what_it_has_received_so_it_is_done_only_for_a_new_baud_rate",
    ),
    Mutant(
        "what is active is re-wired",
        "wiring.py",
        'return "active"\n',
        'return ""\n',
        _WIRING + "test_what_is_active_keeps_its_wiring",
    ),
    Mutant(
        "a change puts off the death of a late node",
        "wiring.py",
        'return "late"\n',
        'return ""\n',
        _WIRING + "test_nothing_puts_off_the_death_of_a_late_node",
    ),
    Mutant(
        "what is cut is taken out",
        "wiring.py",
        'return "fenced"\n',
        'return ""\n',
        _WIRING + "test_what_is_cut_keeps_its_settings_until_it_has_its_power_back",
    ),
    Mutant(
        "what runs is taken out",
        "wiring.py",
        'node, "running"\n',
        'node, "running" if False else None\n',
        _WIRING + "test_a_standby_that_runs_is_not_taken_out",
    ),
    Mutant(
        "a feed that was never seen on proves off",
        "trial.py",
        "state.sense_seen[node] = 0",
        "state.sense_seen[node] = 1",
        _WIRING + "test_a_feed_that_is_sensed_from_now_on_must_be_seen_on_before_its_going_off_proves_anything",
    ),
    Mutant(
        "grants are signed with the first key",
        "intake.py",
        "        self._signer, self._other = self._other, self._signer\n",
        "",
        _KEYS + "test_a_key_is_rolled_without_a_missed_heartbeat",
    ),
    Mutant(
        "a board that restarts in a roll knows one key only",
        "intake.py",
        "if self.rolls and not answers:",
        "if False:",
        _KEYS + "test_a_board_that_restarts_in_the_middle_hears_the_node_whichever_key_it_has",
    ),
    Mutant(
        "a key can be gone around",
        "hostlink.py",
        "elif right < self._needed(row[2]):",
        "elif self._signers[row[2]][0] is not None and right < row[2]:",
        _KEYS + "test_no_key_can_be_gone_around",
    ),
    Mutant(
        "lost settings leave the host link open",
        "hostlink.py",
        "elif self.locked and",
        "elif False and",
        _KEYS + "test_a_board_that_has_lost_its_settings_takes_no_order_without_the_key_switch",
    ),
)
