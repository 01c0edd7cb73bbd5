"""The part of `sagemaker_containers` that scripts of the scikit-learn image import; the library is dead on 3.11.

AWS's own samples begin with `from sagemaker_containers.beta.framework import encoders, worker, …` and use
`encoders.encode`, `encoders.decode`, `worker.Response` and the names of content types.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

from local_aws.images.script_server.encoding import (
    CSV,
    JSON,
    NPY,
    TEXT_TYPES,
    UnsupportedFormatError,
    add_charset,
    decode,
    encode,
)


class WorkerResponse:
    """`worker.Response`: a body with its content type, as Flask's Response presents them."""

    def __init__(
        self,
        response: Any = b"",
        accept: str | None = None,
        status: int = 200,
        headers: dict[str, str] | None = None,
        mimetype: str | None = None,
    ) -> None:
        self._body = response if isinstance(response, bytes) else str(response).encode()
        self.status_code = int(status)
        self.headers = {"Content-Type": add_charset(mimetype or accept or JSON), **(headers or {})}

    def get_data(self) -> bytes:
        return self._body


def install_framework_modules() -> None:
    """Makes `sagemaker_containers.beta.framework` importable, unless the real one is installed."""
    if "sagemaker_containers" in sys.modules or importlib.util.find_spec("sagemaker_containers") is not None:
        return
    framework: dict[str, dict[str, Any]] = {
        "content_types": {
            "JSON": JSON,
            "CSV": CSV,
            "NPY": NPY,
            "ANY": "*/*",
            "OCTET_STREAM": "application/octet-stream",
            "UTF8_TYPES": list(TEXT_TYPES),
        },
        "encoders": {"encode": encode, "decode": decode},
        "worker": {"Response": WorkerResponse},
        "errors": {"UnsupportedFormatError": UnsupportedFormatError},
        # Imported by the samples, used by none of them when they serve.
        "env": {},
        "modules": {},
        "transformer": {},
    }
    base = "sagemaker_containers"
    packages = [_module(name, {}) for name in (base, f"{base}.beta", f"{base}.beta.framework")]
    packages[0].__dict__["beta"] = packages[1]
    packages[1].__dict__["framework"] = packages[2]
    for name, content in framework.items():
        packages[2].__dict__[name] = _module(f"{base}.beta.framework.{name}", content)


def _module(name: str, content: dict[str, Any]) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(content)
    module.__path__ = []
    sys.modules[name] = module
    return module
