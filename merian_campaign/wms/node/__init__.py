"""What runs on a node: the supervisor that admits and guards quanta, and the processes that fork them."""
