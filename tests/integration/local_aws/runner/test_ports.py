"""Ports of model containers: each is one container's, whoever asks."""

from __future__ import annotations

import socket

import pytest

from local_aws.runner.runner_settings import RunnerSettings
from local_aws.runner.transform.ports import PortReservation

TWO_BLOCKS = RunnerSettings(port_first=31960, port_last=31979)


def test_a_reserved_block_is_given_to_nobody_else_until_it_is_released() -> None:
    """Also before the container has bound its port, which takes it seconds."""
    first, second = PortReservation(TWO_BLOCKS), PortReservation(TWO_BLOCKS)
    assert {first.first_port, second.first_port} == {31960, 31970}
    with pytest.raises(OSError, match="no free port between 31960 and 31979"):
        PortReservation(TWO_BLOCKS)
    first.release()
    third = PortReservation(TWO_BLOCKS)
    assert third.first_port == first.first_port
    second.release()
    third.release()


def test_a_port_that_a_stranger_listens_on_is_passed_over() -> None:
    """The other block is taken each time."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 31960))
        stranger.listen()
        for _ in range(5):
            reservation = PortReservation(TWO_BLOCKS)
            assert (reservation.first_port, reservation.safe_port_range) == (31970, "31971-31979")
            reservation.release()
