"""Questions to Ray before it is joined: it would wait for minutes, and could not be interrupted.

Its C++ holds Python's lock while it waits for an answer, so that no handler of a signal runs.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from ray._private import worker
from ray._private.grpc_utils import init_grpc_channel
from ray.exceptions import AuthenticationError

from fftune.errors import ClusterError

HEAD, RAYLET = "/ray.rpc.NodeInfoGcsService/GetClusterId", "/grpc.health.v1.Health/Check"
"""Calls of gRPC that ask with an empty message."""
REQUEST_SECONDS = "RAY_gcs_server_request_timeout_seconds"
"""Ray's own setting; its default is 60."""


def require_head(address: str) -> None:
    """Try to connect to a cluster's head node.

    Raises:
        ClusterError: nothing listens there, or the cluster wants another token.
    """
    endpoint = address.removeprefix("ray://")
    host, _, port = endpoint.rpartition(":")
    if not host:
        return  # "local" and "auto" name no endpoint
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ClusterError(f"cluster {address!r} cannot be reached: {error}") from None
    if _refuses(endpoint):
        raise wants_token(address)


def wants_token(address: str) -> ClusterError:
    """Error of a cluster that rejects the token, or the lack of one."""
    return ClusterError(
        f"cluster {address!r} rejects the token, or wants one; set RAY_AUTH_MODE=token and "
        "give the path of the token file in RAY_AUTH_TOKEN_PATH"
    )


def _refuses(endpoint: str) -> bool:
    """Does the cluster reject our token, or the lack of one?"""
    try:
        _ask(endpoint, HEAD, 5)
    except AuthenticationError:  # a token is wanted, and there is none
        return True
    except grpc.RpcError as error:
        # Ray reports every other error when it joins.
        return bool(error.code() is grpc.StatusCode.UNAUTHENTICATED)
    return False


@contextmanager
def raylet_asked() -> Iterator[None]:
    """Ask the raylet for a sign of life wherever the block joins it.

    The block raises ClusterError where none comes in the seconds that Ray gives its own requests.
    """
    connect = worker.connect

    def asked(node: Any, *values: Any, **settings: Any) -> Any:
        _require_raylet(f"{node.node_ip_address}:{node.node_manager_port}")
        return connect(node, *values, **settings)

    worker.connect = asked
    try:
        yield
    finally:
        worker.connect = connect


def _require_raylet(endpoint: str) -> None:
    seconds = float(os.environ.get(REQUEST_SECONDS, "60"))
    try:
        _ask(endpoint, RAYLET, seconds)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise ClusterError(
                f"raylet {endpoint} of this node has not answered for {seconds:g} seconds"
            ) from None
        # It lives, and Ray reports every other error when it joins.


def _ask(endpoint: str, question: str, seconds: float) -> None:
    with init_grpc_channel(endpoint) as channel:
        channel.unary_unary(question)(b"", timeout=seconds)
