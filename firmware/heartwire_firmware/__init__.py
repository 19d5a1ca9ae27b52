"""What runs on the board: stages from bytes to relays, stepped by one loop (supervisor). Importing any module has no
effect.
"""
