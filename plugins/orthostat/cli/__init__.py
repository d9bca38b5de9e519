"""The command line: one subcommand per step, the same on a laptop, in a worker and in a pod."""
