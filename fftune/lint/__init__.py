"""Lint of a net: checks, before and after the attacks, for what makes its numbers wrong."""
