"""The shortest adaptive attack, for tests of other things behind a defense."""

BRIEF = {"search_steps": 1, "search_targets": 1, "choices": 1}
"""Settings of `DefenseConfig`."""
FLAGS = [flag for name in BRIEF for flag in (f"--defense.{name.replace('_', '-')}", "1")]
"""The same on a command line."""
