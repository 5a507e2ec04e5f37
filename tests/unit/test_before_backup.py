"""Before a backup and after one that fails: room, and the record that keeps prunes away."""

from __future__ import annotations

import dataclasses

import pytest

from support.manifests import Wanted, put_backup
from support.memory import MemoryStorage
from ulasis_backup.config import make_config
from ulasis_backup.errors import Busy, ServerUnreachable, StorageFull
from ulasis_backup.events import Event, Notice
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.jobs import BackupRequest
from ulasis_backup.operations.recorded import failing, recorded
from ulasis_backup.operations.space import expect_room
from ulasis_backup.repository import repository, runs
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.repository import Entry, Repository
from ulasis_backup.settings import Settings

SHOP = BackupRequest(databases=("shop",))
SIZE = 1000


def world(said: list[Event], **settings: object) -> tuple[Context, MemoryStorage]:
    storage = MemoryStorage()
    base = {"backup_server_name": "db1:3306", "db_name": "shop"}
    config = make_config(Settings(**base | settings))  # type: ignore[arg-type]
    shelf = Repository(storage, None)
    repository.ensure(shelf)
    return Context(config=config, repository=shelf, observe=said.append), storage


def entry_of(context: Context, name: PayloadName) -> Entry:
    entries = repository.listing(context.repository).entries
    (found,) = (entry for entry in entries if entry.name == name)
    return found


def state(context: Context, name: PayloadName) -> runs.State:
    series = entry_of(context, name).manifest.header.series
    return runs.last_run(context.repository.storage, series).state


def test_a_backup_is_refused_where_less_is_free_than_the_last_one_took() -> None:
    said: list[Event] = []
    context, storage = world(said)
    put_backup(context.repository, Wanted(payload=b"x" * SIZE))
    put_backup(context.repository, Wanted(database="blog", payload=b"x" * SIZE * 9))
    storage.free = SIZE - 1
    with pytest.raises(StorageFull) as refused:
        expect_room(context, SHOP)
    assert "prune --after-failure" in refused.value.hint
    assert said == []
    storage.free = SIZE
    expect_room(context, SHOP)
    assert [type(event) for event in said] == [Notice]
    storage.free = SIZE * 2
    expect_room(context, SHOP)
    assert len(said) == 1


def test_what_nobody_knows_or_asks_for_is_let_through() -> None:
    said: list[Event] = []
    context, storage = world(said)
    storage.free = 0
    expect_room(context, SHOP)
    put_backup(context.repository, Wanted(payload=b"x" * SIZE))
    expect_room(context, dataclasses.replace(SHOP, method="rows"))
    storage.free = None
    expect_room(context, SHOP)
    storage.free = 0
    careless = make_config(context.config.settings.model_copy(update={"backup_check_space": False}))
    expect_room(dataclasses.replace(context, config=careless), SHOP)
    assert said == []


@dataclasses.dataclass(frozen=True)
class Made:
    """What a run returns."""

    manifest: Manifest


def test_a_run_records_that_it_began_that_it_failed_and_that_it_succeeded() -> None:
    context, _ = world([])
    name = put_backup(context.repository)
    entry = entry_of(context, name)
    seen: list[runs.State] = []

    def make() -> Made:
        seen.append(state(context, name))
        return Made(entry.manifest)

    def fail() -> Made:
        raise Busy("somebody else", hint="wait")

    assert recorded(context, ("shop",), make).manifest == entry.manifest
    assert state(context, name) is runs.State.SUCCEEDED
    with pytest.raises(Busy):
        recorded(context, ("shop",), fail)
    assert state(context, name) is runs.State.FAILED
    recorded(context, ("shop",), make)
    assert seen == [runs.State.BEGUN, runs.State.BEGUN]
    assert state(context, name) is runs.State.SUCCEEDED


def test_the_first_run_of_a_series_records_its_success() -> None:
    context, _ = world([])

    def make() -> Made:
        return Made(entry_of(context, put_backup(context.repository)).manifest)

    made = recorded(context, ("shop",), make)
    last = runs.last_run(context.repository.storage, made.manifest.header.series)
    assert last.state is runs.State.SUCCEEDED


def test_a_success_that_cannot_be_recorded_is_a_backup_all_the_same() -> None:
    said: list[Event] = []
    context, _ = world(said)
    name = put_backup(context.repository)
    entry = entry_of(context, name)

    class Full(MemoryStorage):
        def put(self, *_arguments: object, **_options: object) -> None:
            raise StorageFull("no room", hint="…")

    full = Full()
    source = context.repository.storage
    assert isinstance(source, MemoryStorage)
    full.put_back(source.copy())
    context = dataclasses.replace(context, repository=Repository(full, None))
    assert recorded(context, ("shop",), lambda: Made(entry.manifest)).manifest == entry.manifest
    assert [type(event) for event in said] == [Notice]
    assert state(context, name) is runs.State.UNKNOWN


@pytest.mark.parametrize(
    ("chosen", "failed"),
    [
        ("shop", {"shop"}),
        ("shop,blog", {"shop", "blog", "both"}),
        ("*", {"shop", "blog", "both"}),
        ("other", set()),
    ],
)
def test_a_run_that_fails_before_it_knows_its_databases_fails_for_all_that_it_may_mean(
    chosen: str, failed: set[str]
) -> None:
    context, storage = world([], db_name=chosen)
    made = {
        "shop": put_backup(context.repository),
        "blog": put_backup(context.repository, Wanted(database="blog")),
        "both": put_backup(context.repository, Wanted(others=("blog",))),
        "far": put_backup(context.repository, Wanted(server_name="db2:3306")),
    }
    for name in made.values():
        series = entry_of(context, name).manifest.header.series
        runs.succeed(storage, series, at="", backup_id="x")
    with pytest.raises(ServerUnreachable), failing(context):
        raise ServerUnreachable("no server", hint="…")
    found = {what for what, name in made.items() if state(context, name) is runs.State.FAILED}
    assert found == failed
