"""What is known of the cases and their subjects without computing anything: facts, suites, metadata."""
