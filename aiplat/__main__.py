"""`python -m aiplat`: list the jobs."""

import ast
import sys
from pathlib import Path


def job_purposes() -> dict[str, str]:
    """The first line of each job's docstring, by the job's name; nothing is imported."""
    purposes = {}
    for file in sorted((Path(__file__).parent / "jobs").glob("*.py")):
        source = file.read_text()
        if '__name__ == "__main__"' in source:
            text = ast.get_docstring(ast.parse(source)) or ""
            purposes[file.stem] = text.partition("\n")[0]
    return purposes


def main() -> None:
    """Print what there is to run."""
    lines = [f"  python -m aiplat.jobs.{name:<10} {text}" for name, text in job_purposes().items()]
    listed = "\n".join(lines)
    sys.stdout.write(f"The jobs of aiplat; each explains itself with --help:\n\n{listed}\n")


if __name__ == "__main__":
    main()
