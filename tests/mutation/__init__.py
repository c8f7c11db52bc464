"""Mutation testing of the code that computes numbers: each mutant against its covering tests."""
