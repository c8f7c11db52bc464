"""MLflow runs, the saved page that compares fronts, and the outbox of calls not yet sent."""
