"""One module per group of commands: build, update, inspect, search, evaluate, train, serve."""
