"""What model calls cost: usage and prices."""
