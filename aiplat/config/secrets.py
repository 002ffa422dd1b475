"""Which values of a configuration must not be written down, and what is written in their place."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "(hidden)"

# A key counts when it is one of these or ends in one: `pad_token` and `num_tokens` are no secrets.
_SECRET_KEY = re.compile(
    r"(^|[._-])(token|secret|secrets|password|passwd|passphrase|credentials?|api_?key|private_?key)$",
    re.IGNORECASE,
)
_HARMLESS_KEY = re.compile(r"(^|[._-])(pad|mask|cls|class|sep|unk|bos|eos|start|end|stop)_token$")
# `postgresql://name:password@host`: the password is in the value.
_URL_PASSWORD = re.compile(
    r"(?P<before>[a-z][a-z0-9+.-]*://[^:/@\s]*:)[^@/\s]+(?=@)", re.IGNORECASE
)
# `postgresql://host/base?user=name&password=...`: among the options of a database.
_URL_OPTION = re.compile(r"(?P<before>://\S*[?&](?:ssl)?password=)[^&\s]+", re.IGNORECASE)


def without_secrets(tree: Any, key: str = "") -> Any:
    """The same tree with each text that is a secret, by its key or its form, replaced."""
    if isinstance(tree, Mapping):
        return {name: without_secrets(value, str(name)) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [without_secrets(value, key) for value in tree]
    if not isinstance(tree, str) or not tree:
        return tree
    if _SECRET_KEY.search(key) and not _HARMLESS_KEY.search(key):
        return HIDDEN
    for pattern in (_URL_PASSWORD, _URL_OPTION):
        tree = pattern.sub(rf"\g<before>{HIDDEN}", tree)
    return tree
