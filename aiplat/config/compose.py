"""Files and overrides become one checked configuration, by Hydra's grammar and groups.

Hydra merges the YAML but stops at the first fault and knows no constructor, so it is given no
schema: `sections.check` finds all faults at once, and `origins` says where each one was set.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aiplat.config import sections
from aiplat.config.annotations import MisfitError, fitted
from aiplat.config.origins import origin
from aiplat.config.problems import Problem, join, nearest, suggestion
from aiplat.config.search import groups, listed, search_path
from aiplat.errors import ConfigError

T = TypeVar("T")

# Texts that an override may give without quotes, and that read as nothing else.
_PLAIN = re.compile(r"(?!(?:null|true|false|inf|nan)$)[A-Za-z_][\w-]*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class _Request:
    """What is to be composed.

    folders: the search path. choices: overrides that pick options of groups; values: the others.
    """

    name: str
    root: type[Any]
    folders: tuple[Path, ...]
    choices: tuple[Override, ...]
    values: tuple[Override, ...]

    @property
    def hydra_overrides(self) -> list[str]:
        """What Hydra is told: the choices, and which folders to search besides ours."""
        # Hydra wants the path as it is after the scheme, not as a URI would spell it.
        paths = [str(folder).replace("'", r"\'") for folder in self.folders[1:]]
        further = ",".join(f"'file://{path}'" for path in paths)
        return [f"hydra.searchpath=[{further}]", *(str(item.input_line) for item in self.choices)]


def compose(
    name: str, root: type[T], overrides: Sequence[str] = (), config_dirs: Sequence[Path] = ()
) -> T:
    """The configuration of the job `name`, checked and built.

    overrides: in Hydra's grammar (`+exp=clip`, `loop.max_epochs=3`); values need no plus.
    config_dirs: further folders with groups, such as a user's own experiments. Raises ConfigError
    that lists every problem with its dotted path, where it was set and the nearest valid key.
    """
    return Composer(name, root, config_dirs).compose(overrides)


class Composer(Generic[T]):
    """Composes one job again and again: files are read and merged once for each choice of them."""

    def __init__(self, name: str, root: type[T], config_dirs: Sequence[Path] = ()) -> None:
        self.name, self.root, self.config_dirs = name, root, config_dirs
        self.merged: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: Sequence[str] = ()) -> T:
        """See `compose`."""
        request = _request(self.name, self.root, overrides, self.config_dirs)
        folder = str(request.folders[0])
        with hydra.initialize_config_dir(folder, job_name=self.name, version_base="1.3"):
            tree, found = self._tree(request)
            if tree is not None:
                options = {group: list(files) for group, files in groups(request.folders).items()}
                built, faults = sections.check(self.root, tree, options)
                # What could not be set is named already, and need not be called missing as well.
                named = {problem.path for problem in found}
                found += [fault for fault in faults if fault.path not in named]
                if built is not None and not found:
                    return built
            raise ConfigError(_report(request, found))

    def _tree(self, request: "_Request") -> tuple[dict[str, Any] | None, list[Problem]]:
        """Defaults, files and overrides as one plain tree; None where they cannot be merged."""
        files = self._files(request)
        tree: Any = OmegaConf.merge(OmegaConf.create(sections.defaults(self.root)), files)
        found = [problem for item in request.values for problem in _apply(tree, item, request)]
        if lost := _unresolved(tree):
            return None, [*found, *lost]
        OmegaConf.resolve(tree)
        plain: Any = OmegaConf.to_container(tree)
        return plain, found

    def _files(self, request: "_Request") -> DictConfig:
        choices = tuple(request.hydra_overrides)
        if choices not in self.merged:
            try:
                files = hydra.compose(self.name, list(choices))
            except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
                raise ConfigError(f"{self.name}: {_fault_of_files(error, request)}") from error
            OmegaConf.set_struct(files, False)
            self.merged[choices] = files
        return self.merged[choices]


def parsed_overrides(name: str, overrides: Sequence[str]) -> list[Override]:
    """The overrides of the job `name` by Hydra's grammar. Raises ConfigError."""
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        expected = "expected key=value, group=option or +exp=name"
        raise ConfigError(f"{name}: {_text(error)}; {expected}") from error


def overrides_of(values: Mapping[str, Any]) -> list[str]:
    """Values by path as overrides in Hydra's grammar."""
    return [f"{path}={literal(value)}" for path, value in values.items()]


def literal(value: Any) -> str:
    """A value as an override in Hydra's grammar gives it."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{literal(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(literal, value))}]"
    if isinstance(value, str):
        # Hydra takes a backslash for one, except before a quote.
        escaped = re.sub(r"(\\*)'", r"\1\1\\'", re.sub(r"(\\+)$", r"\1\1", value))
        return value if _PLAIN.fullmatch(value) else f"'{escaped}'"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value)


def _request(
    name: str, root: type[Any], overrides: Sequence[str], config_dirs: Sequence[Path]
) -> _Request:
    folders, parsed = search_path(config_dirs), parsed_overrides(name, overrides)
    known = groups(folders)
    own = listed(folders[0] / f"{name}.yaml")

    def is_choice(override: Override) -> bool:
        key = override.key_or_group
        if key.startswith("hydra."):
            return True
        # A plain key of one root may have the name of a group of others; and null picks no option.
        is_null = not override.is_delete() and override.value() is None
        # A section of this root may have the name of a group that only others choose from.
        is_plain = _is_plain(root, key) or (key not in own and _is_section(root, key))
        return key in known and not is_null and not is_plain

    choices = tuple(override for override in parsed if is_choice(override))
    values = tuple(override for override in parsed if not is_choice(override))
    return _Request(name, root, folders, choices, values)


def _is_section(root: type[Any], key: str) -> bool:
    return sections.section_type(sections.annotation_at(root, key)) is not None


def _is_plain(root: type[Any], key: str) -> bool:
    """Whether the key is described and holds neither a section nor a pluggable node."""
    annotation = sections.annotation_at(root, key)
    is_section = sections.section_type(annotation) is not None
    return annotation is not None and not is_section and not _fits({}, annotation)


def _fits(value: Any, annotation: Any) -> bool:
    try:
        fitted(value, annotation)
    except MisfitError:
        return False
    return True


def _apply(tree: DictConfig, override: Override, request: _Request) -> list[Problem]:
    """Set one value in the tree; what keeps it from being set is returned."""
    key = override.key_or_group
    if override.is_sweep_override():
        return [Problem(key, "it has several values, expected one; quote a text with commas")]
    if group := _meant_group(override, request):
        return [Problem(key, f"no such key or group; did you mean '+{group}={override.value()}'?")]
    try:
        if override.is_delete():
            return _delete(tree, key)
        value = _typed(override, sections.annotation_at(request.root, key))
        OmegaConf.update(tree, key, value, merge=True, force_add=True)
    except OmegaConfBaseException as error:
        return [Problem(key, _text(error))]
    return []


def _meant_group(override: Override, request: _Request) -> str | None:
    """The group that an unknown key at the top level is most like, if it is like any."""
    key = override.key_or_group
    keys = [item.name for item, _ in sections.fields(request.root)]
    if "." in key or key in keys:
        return None
    known = [group for group in groups(request.folders) if group not in keys]
    meant = nearest(key, [*known, *keys])
    return meant if meant in known else None


def _delete(tree: DictConfig, key: str) -> list[Problem]:
    parent, _, name = key.rpartition(".")
    section = OmegaConf.select(tree, parent) if parent else tree
    if not isinstance(section, DictConfig) or name not in section:
        return [Problem(key, "no such key, nothing to remove")]
    del section[name]
    return []


def _typed(override: Override, annotation: Any) -> Any:
    """The value of an override; as typed where it reads as a number but the key takes text."""
    value = override.value()
    if annotation is None or not isinstance(value, int | float) or _fits(value, annotation):
        return value
    return override.get_value_string() if _fits("text", annotation) else value


def _unresolved(node: Any, path: str = "") -> list[Problem]:
    """The interpolations that lead nowhere."""
    found = []
    keys: list[Any] = list(node) if isinstance(node, DictConfig) else list(range(len(node)))
    for key in keys:
        here = join(path, str(key))
        if OmegaConf.is_interpolation(node, key):
            try:
                node[key]
            except OmegaConfBaseException as error:
                found.append(Problem(here, _text(error)))
        elif not OmegaConf.is_missing(node, key) and OmegaConf.is_config(node[key]):
            found += _unresolved(node[key], here)
    return found


def _report(request: _Request, found: list[Problem]) -> str:
    """Every problem on a line of its own, in the order of the keys."""
    loader = GlobalHydra.instance().config_loader()
    composed = loader.compute_defaults_list(request.name, request.hydra_overrides, RunMode.RUN)
    parts = [(str(item.config_path), item.package or "") for item in composed.defaults]
    lines = []
    for problem in found:
        path = problem.path
        place = origin(path, request.folders, parts, request.values) if path else ""
        where = f"{path} ({place})" if place else path or request.name
        lines.append(f"  {where}: {problem.message}")
    count = f"{len(lines)} problems" if len(lines) > 1 else "a problem"
    help_hint = f"'python -m aiplat.jobs.{request.name} --help' lists the choices and every key"
    return "\n".join([f"{request.name}: {count} in the configuration", *sorted(lines), help_hint])


def _fault_of_files(error: Exception, request: _Request) -> str:
    """What is wrong with files that do not compose; for a missing one, who names it."""
    if not isinstance(error, MissingConfigException) or not error.missing_cfg_file:
        return _text(error)
    group, _, option = error.missing_cfg_file.rpartition("/")
    place = _naming(group, option, request)
    missing = f"{group}={option}{f' ({place})' if place else ''}: there is no {group}/{option}.yaml"
    return f"{missing}; {suggestion(option, groups(request.folders).get(group, {}))}"


def _naming(group: str, option: str, request: _Request) -> str:
    """Which override or chosen file asks for an option of a group."""
    for override in request.choices:
        if override.key_or_group == group and override.value() == option:
            return f"{override.input_line} on the command line"
    known = groups(request.folders)
    for override in request.choices:
        file = known.get(override.key_or_group, {}).get(str(override.value()))
        if file and listed(file).get(group) == option:
            return f"in {override.key_or_group}/{file.name}"
    return ""


def _text(error: Exception) -> str:
    """The message of Hydra or OmegaConf in one line, without what a user has no use for."""
    text = str(error).partition("\n\nConfig search path")[0].partition("\nSee https:")[0]
    lines = [line.strip() for line in text.splitlines()]
    noise = ("full_key:", "object_type=")
    return " ".join(line for line in lines if line and not line.startswith(noise))
