"""The errors a user can mend; anything else that escapes is a bug and keeps its traceback.

A message says what was wrong (with the value), what was expected and what to do, and names the
configuration path or the file and row.
"""


class AiplatError(Exception):
    """A fault of the input or the surroundings: jobs print it, no traceback, and exit with 2."""


class ConfigError(AiplatError):
    """The configuration asks for something that does not exist or cannot be."""


class DataError(AiplatError):
    """A dataset, a file or a row is not what it should be. row_id: of the row, where it has one."""

    row_id: int | None = None


class ClusterError(AiplatError):
    """The cluster cannot be reached or lacks what the job asks for."""


class RegistryError(AiplatError):
    """A model version, an alias or its files are missing or inconsistent."""


class RecordsError(AiplatError):
    """The database of keys and usage cannot be opened or asked."""
