"""What a preflight asks the butler and the pipelines, for a whole campaign or for a driver's group."""
