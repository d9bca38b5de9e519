"""Each benchmark is a command that prints a ratio against a peer, both measured in the same run."""
