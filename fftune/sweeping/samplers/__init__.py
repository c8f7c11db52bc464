"""Search strategies: Optuna samplers and the records that describe them."""
