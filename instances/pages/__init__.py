"""Pages outside the staff site, for people whose accounts are employees'."""
