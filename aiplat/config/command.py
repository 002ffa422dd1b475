"""The one way a job starts: compose its configuration, check it, call its function."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from omegaconf import OmegaConf

from aiplat.config.compose import compose
from aiplat.config.description import description
from aiplat.config.secrets import without_secrets
from aiplat.errors import AiplatError

T = TypeVar("T")

EXIT_FAULT = 2
EXIT_INTERRUPTED = 130


def run(main: Callable[[T], None], name: str, root: type[T]) -> NoReturn:
    """Start the job `name` with the arguments of this process, and exit.

    `conf/<name>.yaml` is its root file, `root` describes its keys and `main` gets the result.
    """
    sys.exit(status(main, name, root, sys.argv[1:]))


def status(main: Callable[[T], None], name: str, root: type[T], arguments: Sequence[str]) -> int:
    """The exit status of the job: 2 after a fault that the user can mend, 130 after Ctrl-C."""
    options = _parser(name).parse_intermixed_args(arguments)
    try:
        if options.help:
            sys.stdout.write(description(main, name, root, options.config_dir))
            return 0
        config = compose(name, root, options.overrides, options.config_dir)
        if options.cfg:
            sys.stdout.write(to_yaml(config))
            return 0
        main(config)
    except AiplatError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAULT
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        return EXIT_INTERRUPTED
    return 0


def to_yaml(config: Any) -> str:
    """A built configuration as the YAML that composes to it, its secrets left out."""
    return OmegaConf.to_yaml(OmegaConf.create(without_secrets(asdict(config))))


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m aiplat.jobs.{name}", add_help=False, allow_abbrev=False
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--cfg", "-c", choices=["job"])
    parser.add_argument("--config-dir", "-cd", action="append", type=Path, default=[])
    return parser
