"""Networks, without their weights."""
