"""Which jobs there are, and what each is for."""

import ast
from pathlib import Path


def job_purposes() -> dict[str, str]:
    """The first line of each job's docstring, by the job's name; nothing is imported."""
    purposes = {}
    for file in sorted(Path(__file__).parent.glob("*.py")):
        source = file.read_text()
        if "\nif __name__ ==" in source:
            text = ast.get_docstring(ast.parse(source)) or ""
            purposes[file.stem] = text.partition("\n")[0]
    return purposes
