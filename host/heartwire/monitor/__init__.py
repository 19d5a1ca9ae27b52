"""The monitor: collects the events of any number of boards into a store and notifies people. See run.py."""
