"""Actions recognized from video by R(2+1)D networks, end to end."""
