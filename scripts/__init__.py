"""What a person runs: the `roundbook` command, a verb a file."""
