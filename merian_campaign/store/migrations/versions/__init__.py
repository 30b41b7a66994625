"""The statements that make each version of the tracking database of the one before."""
