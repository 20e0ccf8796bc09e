"""Tests that share something costly are kept in one worker."""

import pytest


@pytest.mark.xdist_group("groups")
def test_a_group_of_tests_is_known_to_who_deals_them_out(request: pytest.FixtureRequest) -> None:
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("one worker, or tests are not dealt out by group (--dist loadgroup)")
    assert request.node.nodeid.endswith("@groups")
