"""The one way a job starts: compose its configuration, check it, call its function."""

import argparse
import gc
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import update_wrapper
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from hydra.core.override_parser.types import Override, QuotedString, Transformer
from omegaconf import OmegaConf

from aiplat.config.compose import Composer, compose, literal, overrides_of, parsed_overrides
from aiplat.config.description import description
from aiplat.config.secrets import without_secrets
from aiplat.config.words import cut, spelled_out
from aiplat.errors import AiplatError, ConfigError

T = TypeVar("T")

EXIT_FAULT = 2
EXIT_INTERRUPTED = 130


# Composes the job's configuration once more, with other values by path.
Recompose = Callable[[Mapping[str, Any]], T]


def run(main: Callable[[T], None], name: str, root: type[T]) -> NoReturn:
    """Start the job `name` with the arguments of this process, and exit.

    `conf/<name>.yaml` is its root file, `root` describes its keys and `main` gets the result.
    """
    _exit(status(main, name, root, sys.argv[1:]))


def run_varied(main: Callable[[T, Recompose[T]], None], name: str, root: type[T]) -> NoReturn:
    """As `run`, for a job that needs its configuration with several values."""
    options = _parser(name).parse_intermixed_args(sys.argv[1:])

    composer = Composer(name, root, options.config_dir)

    def recompose(values: Mapping[str, Any]) -> T:
        kept = [item for item in options.overrides if _key(item) not in values]
        return composer.compose([*kept, *overrides_of(values)])

    def with_recompose(config: T) -> None:
        main(config, recompose)

    _exit(status(update_wrapper(with_recompose, main), name, root, sys.argv[1:]))


def status(main: Callable[[T], None], name: str, root: type[T], arguments: Sequence[str]) -> int:
    """The exit status of the job: 2 after a fault that the user can mend, 130 after Ctrl-C."""
    own, others = cut(root, arguments)
    options = _parser(name).parse_intermixed_args(own)
    try:
        if options.multirun:
            raise ConfigError(_instead_of_multirun(name, options.overrides))
        if options.help:
            sys.stdout.write(description(main, name, root, options.config_dir))
            return 0
        overrides = spelled_out(root, options.overrides)
        config = compose(name, root, [*overrides, *others], options.config_dir)
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


def checked(name: str, root: type[T], arguments: Sequence[str]) -> T:
    """The configuration that the job `name` would run with. Raises ConfigError."""
    options = _parser(name).parse_intermixed_args(arguments)
    overrides = spelled_out(root, options.overrides)
    return compose(name, root, overrides, options.config_dir)


def _exit(code: int) -> NoReturn:
    # Python would look through all that torch and its like have made once more: seconds of it.
    # Only triton's binding complains of what is then still there.
    if "triton" not in sys.modules:
        gc.freeze()
    sys.exit(code)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _instead_of_multirun(name: str, overrides: Sequence[str]) -> str:
    """The search that tries what a sweep of Hydra's would."""
    parsed = parsed_overrides(name, overrides)
    kept = [str(item.input_line) for item in parsed if not item.is_sweep_override()]
    space = {item.key_or_group: _swept(item) for item in parsed if item.is_sweep_override()}
    arguments = [*kept, "tuning.sampler=grid", f"tuning.space={literal(space)}"]
    command = " ".join(["python -m aiplat.jobs.tune", *map(shlex.quote, arguments)])
    return (
        "--multirun: a job runs one configuration; a search runs several, side by side, and goes "
        f"on where it was cut off:\n  {command}"
    )


def _swept(override: Override) -> dict[str, list[Any]]:
    """The values of a sweep, as a search space has them."""
    values = override.sweep_iterator(transformer=Transformer.identity)
    return {"choice": [_unquoted(value) for value in values]}


def _unquoted(value: Any) -> Any:
    if isinstance(value, list):
        return [_unquoted(item) for item in value]
    return value.text if isinstance(value, QuotedString) else value


def to_yaml(config: Any) -> str:
    """A built configuration as the YAML that composes to it, its secrets left out."""
    return OmegaConf.to_yaml(OmegaConf.create(without_secrets(asdict(config))))


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m aiplat.jobs.{name}", add_help=False, allow_abbrev=False
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--cfg", "-c", choices=["job"])
    parser.add_argument("--config-dir", "-cd", action="append", type=Path, default=[])
    return parser
