"""The second kind of study: which Hedge Defense, for one trained net."""
