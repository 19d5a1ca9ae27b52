"""The steps from each store of before to today's, as Alembic runs them: see heartwire.monitor.migrate."""
