"""What the whole house needs of the machine: reading others' files with care, writing its own whole."""
