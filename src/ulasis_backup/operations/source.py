"""A backup that is about to be restored, whatever its method: read whole, checked, and ready."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ulasis_backup.methods.contents import Contents
from ulasis_backup.methods.definers import Redefining, Traits
from ulasis_backup.model import DatabaseOptions, LeftOut, ServerVersion, TextLoss
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.server import Server
from ulasis_backup.operations.compare import Comparison, Place
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.neighbours import Need
from ulasis_backup.repository.names import PayloadName

COMPRESSED = re.compile(rb"(?i)COMPRESS|ENGINE=(?:ROCKSDB|TokuDB)")
"""In the text of a table: its rows may take less room on disk than they have bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetNeeds:
    """What a backup asks of the server that it goes to.

    ``undeclared`` are functions without a word about what they do to data; ``packet`` are the
    bytes that max_allowed_packet must hold; ``in_strings`` are objects whose strings name the
    schema; ``client`` tells that the client program loads it; ``compressed`` that tables may take
    less room than they have bytes.
    """

    neighbours: tuple[Need, ...]
    undeclared: tuple[str, ...]
    packet: int
    in_strings: tuple[str, ...]
    client: bool
    compressed: bool


class Source(Protocol):
    """A checked backup of one database."""

    @property
    def name(self) -> PayloadName:
        """Return the payload's name."""
        ...

    @property
    def database(self) -> str:
        """Return the database that the backup is of."""
        ...

    @property
    def made_at(self) -> str:
        """Return when it was begun, for people."""
        ...

    @property
    def server(self) -> ServerVersion:
        """Return the server that it came from."""
        ...

    @property
    def contents(self) -> Contents:
        """Return what it holds."""
        ...

    def options_for(self, server: Server) -> DatabaseOptions | None:
        """Return what CREATE DATABASE says on *server*; None where that is not known."""
        ...

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Return what is not in it: what the target has of it stays there."""
        ...

    @property
    def text_losses(self) -> tuple[TextLoss, ...]:
        """Return what its method could not hold."""
        ...

    @property
    def partial(self) -> bool:
        """Tell whether it was made without all rights."""
        ...

    @property
    def method(self) -> str:
        """Return ``sql`` or ``rows``."""
        ...

    @property
    def only_tables(self) -> frozenset[str] | None:
        """Return the tables that are restored where not all are."""
        ...

    def needs(self) -> TargetNeeds:
        """Return what it asks of a target."""
        ...

    def traits(self, server: Server) -> tuple[Traits, ...]:
        """Return who defined its objects, and the settings they are made with on *server*."""
        ...

    def redefined(self, change: Redefining) -> Source:
        """Return it with other definers, or without the objects of some."""
        ...

    def notices(self, server: Server, target: str) -> Iterator[str]:
        """Yield what is worth knowing before it is loaded; raises Refused, ServerUnsuitable."""
        ...

    def expect_renamable(self, target: str) -> None:
        """Raise Refused unless every definition can be given to a database *target*."""
        ...

    def against_beside(self, server: Server, target: str) -> Iterator[str]:
        """Yield why its tables could not be loaded beside *target* and moved in, if anything."""
        ...

    def read_whole(self, context: Context) -> Source:
        """Return it with every byte of it read and found authentic; see ``open_rows``."""
        ...

    def load_tables(
        self, context: Context, server: Server, place: Place, *, compare: bool
    ) -> Contents:
        """Load tables and sequences alone into ``place.schema``; return what was loaded.

        With *compare* every row is compared afterwards. Nothing of it names or touches
        ``place.target`` but foreign keys to tables that stay there, and sequences. Raises
        LoadFailed, IntegrityError and its children.
        """
        ...

    def compare_tables(self, context: Context, place: Place, expected: Contents) -> Comparison:
        """Compare ``place.schema`` with what was loaded into it; raises CouldNotCheck."""
        ...

    def objects(self, server: Server, target: str) -> tuple[Definition, ...]:
        """Return what belongs to the tables, as triggers do, in the names of *target*."""
        ...

    def finish(self, context: Context, server: Server, target: str) -> None:
        """Do what is left to do when all of it is in *target*."""
        ...

    def load(self, context: Context, server: Server, target: str) -> Contents:
        """Load it into *target*, which holds nothing of it; return what was loaded.

        Raises LoadFailed, IntegrityError and its children.
        """
        ...

    def compare(self, context: Context, target: str, expected: Contents) -> Comparison:
        """Compare *target* with what was loaded; raises CouldNotCheck."""
        ...


def inexact(source: Source) -> bool:
    """Tell whether the backup has said that it lacks something, or holds it not exactly."""
    return bool(source.text_losses) or any(not entry.asked for entry in source.left_out)
