"""AWS's models of its services are read once in a process, whatever the number of hooks, connections and clients."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from botocore.loaders import JSONFileLoader, create_loader

from sagemaker_jobs import aws


def test_models_are_shared_and_clients_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client has the credentials, region and endpoint of its own connection, as the provider makes them."""
    for name in ("first", "second"):
        uri = f"aws://{name}-key:{name}-secret@/?region_name=eu-west-1&endpoint_url=http%3A%2F%2F{name}"
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", uri)
    monkeypatch.setattr(aws, "_SHARED_MODELS", {})
    read: list[str] = []
    # The laptop's settings for Airflow, which tests use, share the models of all sessions.
    monkeypatch.setattr("botocore.session.create_loader", create_loader)
    load_file, own_thread = JSONFileLoader.load_file, threading.get_ident()

    def record_read(self: Any, path: str) -> Any:
        content = load_file(self, path)
        if content is not None and threading.get_ident() == own_thread:  # servers of other tests read too
            read.append(path)
        return content

    monkeypatch.setattr(JSONFileLoader, "load_file", record_read)
    hooks = [hook(aws_conn_id=name) for name in ("first", "second") for hook in (S3Hook, SageMakerHook)]
    clients = [aws.get_client(hook) for hook in hooks]
    assert [path for path in read if path.endswith("service-2")] != []
    assert sorted(read) == sorted(set(read))
    assert clients == [aws.get_client(hook) for hook in hooks]
    for hook, client in zip(hooks, clients, strict=True):
        theirs = type(hook)(aws_conn_id=hook.aws_conn_id).get_client_type()
        for made in (client, theirs):
            assert made.meta.endpoint_url == f"http://{hook.aws_conn_id}"
            assert made.meta.region_name == "eu-west-1"
            assert made._request_signer._credentials.access_key == f"{hook.aws_conn_id}-key"
        ours, provider = vars(client.meta.config), vars(theirs.meta.config)
        assert ours["user_agent"].split("exec-env")[0] == provider["user_agent"].split("exec-env")[0]
        assert ours["retries"] == provider["retries"]
