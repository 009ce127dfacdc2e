"""Half a year of the product's own work on simulated hosts, under a clock of its own."""
