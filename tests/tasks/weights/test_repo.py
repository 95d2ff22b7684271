"""Names of repositories."""

from __future__ import annotations

import pytest

from lure_cli.errors import LureError
from lure_cli.tasks.weights.find import find_weights, local_weights, resolve_weights, update_weights
from lure_cli.tasks.weights.repo import parse_repo
from tests.helpers.hub_server import Hub


@pytest.mark.parametrize("name", ["a/b", "org.name/re_po-1.0", "a/b@v1.0", "a/b@refs/pr/3", "a/b@" + "0" * 40])
def test_names_of_repositories(name: str) -> None:
    repo = parse_repo(name)
    assert repo is not None
    assert str(repo) == name
    assert find_weights(name) == repo


@pytest.mark.parametrize(
    "name", ["a", "a/b/c", "./a/b", "../a", "/a/b", "~/a", "a\\b", "a /b", "a/b c", "-a/b", "", "a/"]
)
def test_other_names_are_none(name: str) -> None:
    assert parse_repo(name) is None
    with pytest.raises(LureError):
        find_weights(name)


@pytest.mark.parametrize(
    "name",
    ["a/b@", "a/b@../c", "a/b@-x", "a/b@a b", "a/b@a\nb", "a/b@/x", "a/b@x/", "a--b/c", "a/..b", "a/b.git", "a/b."],
)
def test_bad_names(name: str, hub: Hub) -> None:
    for use in (resolve_weights, local_weights, update_weights):
        with pytest.raises(LureError):
            use(name)
    assert hub.seen == []
