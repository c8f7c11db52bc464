"""Questions to a net before any number is made of it: what makes numbers wrong is said first."""
