"""The subcommands of `conformance`, one module each."""
