"""Mutants of the code that makes numbers, each against the tests that cover it."""
