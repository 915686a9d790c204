"""The command line: settings, what a terminal and a signal do."""
