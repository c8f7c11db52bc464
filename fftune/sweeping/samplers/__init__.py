"""Search strategies as Optuna samplers."""
