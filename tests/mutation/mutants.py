"""All mutants, in one table; each file holds those of one kind. Run by test_mutation.py."""

from __future__ import annotations

from tests.mutation import of_handover, of_scenarios, of_settings, of_stages, of_walks, of_words

MUTANTS = (
    *of_handover.MUTANTS,
    *of_scenarios.MUTANTS,
    *of_settings.MUTANTS,
    *of_stages.MUTANTS,
    *of_walks.MUTANTS,
    *of_words.MUTANTS,
)
