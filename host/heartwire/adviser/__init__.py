"""What a board's own history says about its settings: history, odds, peers, proposal. See README.md."""
