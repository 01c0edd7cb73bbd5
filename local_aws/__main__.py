"""`python -m local_aws`: the embedded AWS on one port of this machine.

serve   start it; stop it with Ctrl-C or SIGTERM (the default)
usage   print instances, billed and busy seconds of each job of a running server
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from local_aws.process_end import end_process

DEFAULT_PORT = 5600


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in (*COMMANDS, "-h", "--help"):
        words.insert(0, "serve")
    options = _parser().parse_args(words)
    return COMMANDS[options.command](options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_aws", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="start the embedded AWS (the default)")
    serve.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 lets the system choose")
    serve.add_argument("--data-dir", type=Path, default=Path(".local/aws"), help="folder for the state")
    serve.add_argument("--settings", type=Path, help="a YAML file of settings")
    serve.add_argument(
        "--host-name",
        action="append",
        dest="host_names",
        metavar="NAME",
        help="a name under which clients reach the server, e.g. that of a container; repeatable",
    )
    serve.add_argument("--s3-endpoint-url", help="S3 that jobs use in place of the built-in one")
    serve.add_argument("--provisioning-seconds", type=float, help="how long jobs wait for instances")
    serve.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any setting, e.g. --set runner.assignment=hash; repeatable",
    )
    usage = commands.add_parser("usage", help="print what each job of a running server used")
    usage.add_argument("--url", default=f"http://127.0.0.1:{DEFAULT_PORT}", help="the running server")
    usage.add_argument("--name-contains", default="", help="only jobs with this in their name")
    usage.add_argument("--kind", choices=("transform", "processing"))
    usage.add_argument("--json", action="store_true", help="all fields, as JSON")
    document = commands.add_parser(
        "document", help="regenerate the tables of the documentation from the code"
    )
    document.add_argument("folder", type=Path, help="the folder of its pages: docs/reference/embedded-aws")
    return parser


def _serve(options: argparse.Namespace) -> int:
    from local_aws.server import LocalAws, ServerError
    from local_aws.settings import SettingsError, load_settings
    from local_aws.state.moto_state import MotoStateError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    os.umask(0o077)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        overrides = dict(_parse_override(text) for text in options.set)
        for name in ("s3_endpoint_url", "provisioning_seconds", "host_names"):
            if getattr(options, name) is not None:
                overrides[name] = getattr(options, name)
        server = LocalAws(load_settings(options.settings, overrides), options.data_dir, options.port)
        server.start()
    except (SettingsError, ServerError, MotoStateError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"listening on {server.url}", flush=True)
    stopping.wait()
    server.stop()
    return 0


def _parse_override(text: str) -> tuple[str, Any]:
    from local_aws.settings import SettingsError

    name, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"--set {text}: expected NAME=VALUE")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SettingsError(f"--set {text}: the value is not YAML: {error}") from error


def _usage(options: argparse.Namespace) -> int:
    from local_aws.usage import format_usage_table

    query = {"name_contains": options.name_contains}
    if options.kind:
        query["kind"] = options.kind
    url = f"{options.url.rstrip('/')}/_local/usage?{urllib.parse.urlencode(query)}"
    if not url.startswith(("http://", "https://")):
        print(f"--url is {options.url!r}, expected http://127.0.0.1:PORT", file=sys.stderr)
        return 2
    try:
        with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - http(s) is checked above
            jobs = json.load(response)["jobs"]
    except urllib.error.URLError as error:
        print(f"no embedded AWS at {options.url}: {error}; start one, or give --url", file=sys.stderr)
        return 1
    print(json.dumps(jobs, indent=1) if options.json else format_usage_table(jobs))
    return 0


def _document(options: argparse.Namespace) -> int:
    from local_aws.api.documentation import update_pages

    update_pages(options.folder)
    return 0


COMMANDS = {"serve": _serve, "usage": _usage, "document": _document}


if __name__ == "__main__":
    end_process(main())
