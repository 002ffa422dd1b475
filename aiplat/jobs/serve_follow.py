"""Serve what aliases point to, also after they were moved."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from aiplat.errors import AiplatError
from aiplat.registry.versions import ModelVersion

Models = Mapping[str, ModelVersion]


@dataclass
class Follower:
    """Deploys other versions when the aliases that name them move.

    resolve: what to serve now. deploy: has it served, without a request dropped; what was served
    goes on where it fails. served: what is. refused: what could not be, and is not tried again.
    """

    console: Console
    resolve: Callable[[], Models]
    deploy: Callable[[Models], object]
    served: Models
    refused: Models | None = None
    is_away: bool = False

    def follow(self, interval_s: float | None) -> None:
        """Look every so often, until KeyboardInterrupt; with None only wait for that."""
        while True:
            time.sleep(interval_s or 3600.0)
            if interval_s is not None:
                self.look()

    def look(self) -> None:
        """Look once."""
        wanted = self._wanted()
        if wanted is None or _ids(wanted) in (_ids(self.served), _ids(self.refused or {})):
            return
        moved = ", ".join(
            f"{self.served[name].id} -> {version.id}"
            for name, version in wanted.items()
            if version.id != self.served[name].id
        )
        self.console.print(f"An alias has moved: {moved}")
        try:
            self.deploy(wanted)
        except AiplatError as error:
            self.refused = wanted
            self.console.print(f"[red]not served[/] {escape(str(error))}")
            # Serve would go on trying to start what cannot start.
            self.deploy(self.served)
            self.console.print(f"Still serving {_ids(self.served)}.")
        else:
            self.served, self.refused = wanted, None
            self.console.print(f"Serving {_ids(self.served)}.")

    def _wanted(self) -> Models | None:
        """What to serve now; None where the registry does not say, which is told once."""
        try:
            wanted = self.resolve()
        except AiplatError as error:
            if not self.is_away:
                self.console.print(f"[yellow]note[/] {escape(str(error))}; nothing changes")
            self.is_away = True
            return None
        self.is_away = False
        return wanted


def _ids(models: Models) -> str:
    return ", ".join(version.id for version in models.values())
