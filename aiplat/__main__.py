"""`python -m aiplat`: list the jobs."""

import sys

from aiplat.jobs.listing import job_purposes


def main() -> None:
    """Print what there is to run."""
    lines = [f"  python -m aiplat.jobs.{name:<10} {text}" for name, text in job_purposes().items()]
    listed = "\n".join(lines)
    sys.stdout.write(f"The jobs of aiplat; each explains itself with --help:\n\n{listed}\n")


if __name__ == "__main__":
    main()
