"""Sources of rows, one kind of input a module."""
