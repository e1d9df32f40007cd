"""The conformance suites: pytest files to read and to run."""
