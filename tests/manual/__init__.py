"""The manual: what each command line in it does when it is run."""
