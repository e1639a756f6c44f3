"""What shows outsiders that the log holds: exports and their verifier, receipts, witnesses, the read-only API."""
