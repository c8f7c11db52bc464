"""Checks for obfuscated gradients, and for flaws of an evaluation."""
