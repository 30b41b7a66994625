"""What a tick decides, what it tells people, and how it ends."""
