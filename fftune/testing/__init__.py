"""Conformance tests for attacks, objectives, defenses and search strategies of your own."""
