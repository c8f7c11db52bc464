"""The door to MLflow: runs, the page that compares fronts, and calls not yet sent."""
