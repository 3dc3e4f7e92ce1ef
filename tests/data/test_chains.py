"""Connected components of pairs."""

from __future__ import annotations

from housetrain.data.chains import Chains


def test_chains_are_what_pairs_connect() -> None:
    chains = Chains([(5, 3), (8, 9), (3, 1)])
    assert chains.parts() == [[1, 3, 5], [8, 9]]
    assert chains.joined(5, 1) and chains.joined(4, 4)
    assert not chains.joined(5, 8) and not chains.joined(1, 7)
    chains.join(9, 1)
    assert chains.parts() == [[1, 3, 5, 8, 9]]
    assert Chains().parts() == []
