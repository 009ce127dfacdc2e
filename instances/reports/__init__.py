"""Reports for product managers: tables that are computed from rows at the time of asking."""
