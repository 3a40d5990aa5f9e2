"""One file per subcommand: parse, build, call, print."""
