"""The command line: one file a verb; `options` holds what all verbs share."""
