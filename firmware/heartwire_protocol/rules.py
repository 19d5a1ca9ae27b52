"""Rules: what keeps servers safe, with permanent numbers. Nothing may override one.

RULES rows are (number, sentence, where, argument, events, reasons). `where`: what holds it in the code beside the
guards, whose docstrings begin with the number; `argument`: why that is enough. `events`: the decisions that the rule
explains whatever their reason; `reasons`: what is said where the rule forbids, or "event/reason" where a reason belongs
to another rule with other events. The table of firmware/DESIGN.md, `heartwire why`, `heartwire help rules`, the walk
and the scenarios' `covers` read it; the board does not.
"""

RULES = (
    (
        "5.1",
        "at most one node is entitled: another one only after the holder was proven off, said that it stopped, or its "
        "lease was waited out, and never beside a node whose last word was that it runs",
        "`policy_core.promote`, `_promote_step`; `grants.is_entitled`",
        "there is one variable `active`, and a lease leaves the board only for it, in the incarnation that was "
        "granted; every way to a grant goes through `promote`, which asks `fitness.other_runs`",
        ("granted", "revoked"),
        ("two_running", "watchdog_unarmed", "no_fence", "not_booted"),
    ),
    (
        "5.2",
        "the epoch rises with every activation, never repeats, and is durable together with its holder before a grant "
        "leaves",
        "`durable.py`, `slots.py`; `grants.is_entitled` compares with what is durable",
        "a record in two slots: a cut leaves the old or the new one whole. No grant leaves before the read-back state "
        "equals the wanted one, and no node is told an epoch that is not durable. An empty or older store grants "
        "nobody until all nodes reported or an operator says who, then highest + 1",
        ("store_empty",),
        ("store_empty", "epoch"),
    ),
    (
        "5.3",
        "after any fence a powered node fit to be active remains; a second power relay opens beside another one only "
        "for the active node's failover",
        "`policy_fence.make_way`",
        "asked at the deadline and again when a drain times out or an approval comes. What is done to a node that "
        "holds nothing keeps no failover waiting: who remains is fit and powered whatever that other relay does",
        ("start_asked",),
        ("no_successor", "last_powered", "other_operation", "active_not_good", "already_active", "not_fit"),
    ),
    (
        "5.4",
        "lines that fall silent together are one fault of cable, supply or board",
        "`policy_observe._watch_common`",
        "ages are compared, not times: X may be fenced only if some Y was heard more than `late_ms` + "
        "`common_cause_ms` later. After a common silence X must stay silent another `dead_ms` while Y is back",
        (),
        ("common_cause",),
    ),
    (
        "5.5",
        "no automatic action on a node that was not heard (anew after a change of its line's settings), in boot grace, "
        "in observe or fencer mode, in maintenance, in safe mode, on settings on trial, after lock-out, or without "
        "approval in approve mode; no request without its right",
        "`trial.py`",
        "one table, first ban wins and is journaled",
        ("would_fence", "approval_asked", "approval_expired", "locked_out", "recovery_step"),
        (
            "observe_mode", "fencer_mode", "maintenance", "not_in_maintenance", "locked_out", "never_heard",
            "unproven_line", "boot_grace", "needs_approval", "on_trial", "crash_loop", "may_not_fence", "too_often",
            "displaced", "service", "not_running", "degraded", "not_armed",
        ),
    ),
    (
        "5.6",
        "a second sign of life counts where the settings want it, and so does a word to be busy or starting, but for "
        "excuse_s or its own cap at most",
        "",
        "a half line is a fault of the line, not of the node; but what proves nothing more may be a recording, an echo "
        "or a ghost, and one wire must not end failover",
        ("fence_fired",),
        ("heard", "half_line", "line_fault", "busy", "starting", "peer_sees", "powered"),
    ),
    (
        "5.7",
        "off is proven by senses that were all on while the node beat, went off after the command and stay off behind "
        "the open contact; unknown is never off, and a word or a loss of power that came before counts only as the "
        "settings and a person say",
        "`sequencer.py`, `policy_observe._watch_feeds`",
        "off before the command, unknown, and a timeout are failures; a failure grants nobody. A sense that goes off "
        "late, behind the contact that is still open, proves it late. A person's word or a loss of power that came "
        "before the command counts only behind the open contact, for `off_stable_ms`, and until the next sign of life",
        ("off_proven", "off_assumed", "off_failed", "relay_released"),
        (
            "already_off", "still_on", "sense_unseen", "power_lost", "declared",
            "refused/powered",
        ),
    ),
    (
        "5.8",
        "the board may die without harm",
        "normally closed contacts, `boot.py`, `hold` in the agent, order `hold` in grants",
        "a board that has just started says `hold` until it knows, which takes no lease away, so a running service is "
        "not interrupted",
        ("adopted",),
        (),
    ),
    (
        "5.9",
        "what is going to be done is durable before the contact moves",
        "`policy_core.prepare` at *late*, scratch mark in `sequencer._start`",
        "the intent costs nothing at the deadline; only a marked fence resumes after a reset",
        ("fence_resumed", "fence_cancelled"),
        ("not_durable",),
    ),
    (
        "5.10",
        "a fenced node comes back quarantined",
        "durable `quarantined`",
        "also over a power loss of the board",
        (),
        ("not_quarantined",),
    ),
    (
        "5.11",
        "every sequence runs on the board, and ends there",
        "`sequencer.py`, `hold_max_s`",
        "the host may die at any moment",
        (),
        (),
    ),
    (
        "5.12",
        "the watchdog is fed in one place; after three bad starts the board is in safe mode, where nothing automatic "
        "happens",
        "`supervisor.step`, scratch register 1",
        "a start counts as good after a minute",
        (),
        ("safe_mode",),
    ),
    (
        "5.13",
        "while the long lease of an update stands, its holder is not fenced, nobody else is granted, and nothing is "
        "tested",
        "`policy_core.promote`, `policy_requests`",
        "its holder keeps its services while the board may be away for minutes, and nobody would renew or end "
        "anything in that time",
        (),
        ("long_lease",),
    ),
    (
        "5.14",
        "settings cannot remove the guard: who is active, holder, late, being fenced or cut is not disabled, renamed "
        "or wired anew",
        "`wiring.refusal`",
        "asked of the running settings, the new ones and the state in the pass that would store them",
        (),
        ("in_use",),
    ),
    (
        "5.15",
        "every request is answered and journaled, and what nobody asked for, or what was taken back, does not begin",
        "`policy_requests.py`, `walltime.py`",
        "a request is a row of one table with its guards; a schedule needs the wall time, and its record begins it",
        (),
        ("no_wall_time", "cancelled", "missed"),
    ),
    (
        "5.16",
        "each node is told what is so: the holder's lease is renewed, a grant without arming is advisory, the transfer "
        "relay follows whoever is active",
        "`grants.py`, `relays.py`",
        "orders are made anew for each answer from the state that the policy left",
        (),
        ("position",),
    ),
)  # fmt: skip


def sentence(number: str) -> str:
    """Return a rule's sentence. Raises KeyError where there is no such rule."""
    for row in RULES:
        if row[0] == number:
            return row[1]
    raise KeyError(number)


def rule_of(event: str, reason: str) -> str:
    """Return the number of the rule behind a decision of the journal, by the names of its event and reason; "" where
    none is.

    What forbade something tells more than what was forbidden, so a held, refused or failed decision goes by its reason.
    """
    exact, forbade, explained = f"{event}/{reason}", "", ""
    for number, _, _, _, events, reasons in RULES:
        if exact in reasons:
            return number
        forbade = forbade or (number if reason in reasons else "")
        explained = explained or (number if event in events else "")
    if event in FORBIDDEN:
        return forbade or explained
    return explained or forbade


# Events that say that something was not done, or not as it should be.
FORBIDDEN = ("held", "refused", "off_failed")
