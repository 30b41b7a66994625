"""The collector of garbage is away for as long as it is asked to be, and then is as it was."""

import gc

import pytest

from merian_campaign.host.collector import no_collection


def test_it_is_away_for_so_long_and_comes_back_also_after_an_error() -> None:
    assert gc.isenabled()
    with pytest.raises(ValueError, match="no luck"), no_collection():  # noqa: PT012 - what is in it matters
        with no_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise ValueError("no luck")
    assert gc.isenabled()
