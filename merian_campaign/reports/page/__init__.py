"""The page that survey leads look at, its pictures, and its tables as files."""
