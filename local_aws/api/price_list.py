"""Serves GetProducts of the Price List API for AmazonSageMaker from a table of hourly prices.

Form, attributes and their values are those of AWS's list; what GetAttributeValues answers is at
https://github.com/alanwsmith/aws-price-list-api-values.alanwsmith.com
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, NonNegativeFloat
from pydantic import ValidationError as ModelError

from local_aws.api.errors import (
    AwsError,
    NotImplementedHereError,
    PriceListAccessError,
    PriceListParameterError,
    PriceListTokenError,
)
from local_aws.api.json_protocol import StartResponse, parse_json, read_body, read_region, respond_json
from local_aws.api.services import PRICE_LIST, ServiceRequest
from local_aws.api.shapes.rendering import render
from local_aws.api.shapes.service_models import get_constraints, load_operation_model, load_service_model
from local_aws.api.shapes.validation import parse_request
from local_aws.settings import Settings, SettingsError

SERVICE_CODE = "AmazonSageMaker"
FORMAT_VERSION = "aws_v1"
MAX_RESULTS = 100
#: AWS has the API in these regions only.
ENDPOINT_REGIONS = ("us-east-1", "eu-central-1", "ap-south-1")
#: The built-in table.
DEFAULT_FILE = Path(__file__).with_name("prices.yaml")
#: AWS's codes of the on-demand term, and of its price per hour.
_TERM_CODE, _RATE_CODE = "JRTCKXETXF", "6YS6EN2CT7"


@dataclass(frozen=True, slots=True)
class Component:
    """A part of SageMaker that is billed: its name in the list, in usage types and in descriptions.

    `shape` is the enum of its instance types in SageMaker's model.
    """

    name: str
    usage: str
    title: str
    shape: str


COMPONENTS = (
    Component("BatchTransform", "Tsform", "Batch Transform", "TransformInstanceType"),
    Component("Processing", "Processing", "Processing", "ProcessingInstanceType"),
    Component("Hosting", "Host", "Hosting", "ProductionVariantInstanceType"),
    Component("Training", "Train", "Training", "TrainingInstanceType"),
)


class RegionPrices(BaseModel):
    """The prices of a region: dollars per hour by instance type, and the region's names in the list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    location: str
    usage_prefix: str
    per_hour: dict[str, NonNegativeFloat]


class PriceTable(BaseModel):
    """Prices by region; a region that it lacks has no product. `publication_date` is as in AWS's list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    publication_date: str
    regions: dict[str, RegionPrices]


def load_price_table(path: Path) -> PriceTable:
    """The table in a YAML file. Raises SettingsError naming the file and what is wrong."""
    try:
        return PriceTable.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ModelError) as error:
        raise SettingsError(
            f"price_list_file: {path} cannot be read as a table of prices: {error}"
        ) from error


class PriceListApplication:
    """Handles `X-Amz-Target: AWSPriceListService.*`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        path = settings.price_list_file
        self._table = load_price_table(DEFAULT_FILE if path is None else Path(path))
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "GetProducts": self._get_products
        }

    def __call__(self, service_request: ServiceRequest, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        environ, operation = service_request.environ, service_request.operation
        try:
            handler = self._operations.get(operation)
            if handler is None:
                raise NotImplementedHereError(
                    f"{operation} is not implemented by the embedded AWS; of the {PRICE_LIST.name} it has "
                    f"{', '.join(self._operations)}"
                )
            region = read_region(environ, "pricing", require_signature=self._settings.require_signature)
            if region not in ENDPOINT_REGIONS:
                raise NotImplementedHereError(
                    f"the {PRICE_LIST.name} has no endpoint in {region}; it has in {', '.join(ENDPOINT_REGIONS)}"
                )
            model = load_operation_model(operation, "pricing")
            request = parse_request(model.input_shape, parse_json(read_body(environ)), operation)
            shape = load_service_model("pricing").shape_for(f"{operation}Response")
            answer = render(shape, handler(request))
        except AwsError as error:
            return respond_json(start_response, error.status, error.to_body())
        return respond_json(start_response, 200, answer)

    @cached_property
    def _documents(self) -> tuple[dict[str, Any], ...]:
        return tuple(build_documents(self._table))

    def _get_products(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._settings.price_list == "denied":
            raise PriceListAccessError(
                "User is not authorized to perform: pricing:GetProducts because no identity-based policy allows it"
            )
        if request["ServiceCode"] != SERVICE_CODE:
            raise PriceListParameterError(
                f"found ServiceCode {request['ServiceCode']!r}; the embedded AWS has {SERVICE_CODE}"
            )
        if request.get("FormatVersion", FORMAT_VERSION) != FORMAT_VERSION:
            raise PriceListParameterError(
                f"found FormatVersion {request['FormatVersion']!r}; allowed is {FORMAT_VERSION}"
            )
        filters = request.get("Filters", [])
        found = [each for each in self._documents if all(_matches(each, one) for one in filters)]
        digest = hashlib.sha256(json.dumps(filters, sort_keys=True).encode()).hexdigest()[:16]
        start = _parse_token(request.get("NextToken"), digest, len(found))
        end = start + request.get("MaxResults", MAX_RESULTS)
        return {
            "FormatVersion": FORMAT_VERSION,
            "PriceList": [json.dumps(each, separators=(",", ":")) for each in found[start:end]],
            "NextToken": _build_token(digest, end) if end < len(found) else None,
        }


def build_documents(table: PriceTable) -> Iterator[dict[str, Any]]:
    """The documents of all products: each component's instances, a free one, and a fee that is no price per hour."""
    for region, prices in table.regions.items():
        for component in COMPONENTS:
            types = get_constraints(load_service_model().shape_for(component.shape))["enum"]
            for instance_type, dollars in prices.per_hour.items():
                if instance_type in types:
                    attributes = {
                        "instanceName": instance_type,
                        "instanceType": f"{instance_type}-{component.name}",
                        "component": component.name,
                        "usagetype": f"{prices.usage_prefix}-{component.usage}:{instance_type}",
                    }
                    title = f"{component.title} {instance_type}"
                    yield _build_document(table, region, attributes, dollars, "Hrs", title)
        for instance_type, dollars in prices.per_hour.items():
            free = {
                "instanceName": instance_type,
                "instanceType": f"{instance_type}-FreeMonitorParent",
                "component": "Processing",
                "usagetype": f"{prices.usage_prefix}-MonitorFreeTier:{instance_type}",
            }
            if instance_type == "ml.m5.xlarge":
                yield _build_document(table, region, free, 0.0, "Hrs", f"Model Monitor {instance_type}")
            fee = {
                "instanceName": instance_type,
                "usagetype": f"{prices.usage_prefix}-TrainingPlanUpfrontFee:{instance_type}",
            }
            if instance_type.startswith("ml.p"):
                yield _build_document(table, region, fee, dollars / 2, "Quantity", f"plan of {instance_type}")


def _build_document(
    table: PriceTable, region: str, attributes: Mapping[str, str], dollars: float, unit: str, title: str
) -> dict[str, Any]:
    prices = table.regions[region]
    digest = hashlib.sha256(attributes["usagetype"].encode()).digest()
    sku = base64.b32encode(digest).decode()[:16]
    term, rate = f"{sku}.{_TERM_CODE}", f"{sku}.{_TERM_CODE}.{_RATE_CODE}"
    per = "hour" if unit == "Hrs" else unit.lower()
    return {
        "product": {
            "productFamily": "ML Instance",
            "attributes": {
                "servicecode": SERVICE_CODE,
                "servicename": "Amazon SageMaker",
                "regionCode": region,
                "location": prices.location,
                "locationType": "AWS Region",
                "operation": "RunInstance",
                **attributes,
            },
            "sku": sku,
        },
        "serviceCode": SERVICE_CODE,
        "terms": {
            "OnDemand": {
                term: {
                    "sku": sku,
                    "offerTermCode": _TERM_CODE,
                    "effectiveDate": table.publication_date,
                    "termAttributes": {},
                    "priceDimensions": {
                        rate: {
                            "rateCode": rate,
                            "unit": unit,
                            "beginRange": "0",
                            "endRange": "Inf",
                            "appliesTo": [],
                            "description": f"${dollars:g} per {title} {per} in {prices.location}",
                            "pricePerUnit": {"USD": f"{dollars:.10f}"},
                        }
                    },
                }
            }
        },
        "version": "".join(filter(str.isdigit, table.publication_date))[:14],
        "publicationDate": table.publication_date,
    }


def _matches(document: Mapping[str, Any], one: Mapping[str, str]) -> bool:
    """Whether a product passes a filter; one without the attribute does not, but for NONE_OF."""
    product = document["product"]
    known = {**product["attributes"], "productFamily": product["productFamily"], "sku": product["sku"]}
    found, wanted = known.get(one["Field"]), one["Value"]
    values = [each.strip() for each in wanted.split(",")]
    if one["Type"] == "NONE_OF":
        return found not in values
    if found is None:
        return False
    if one["Type"] == "CONTAINS":
        return wanted in found
    return found in values if one["Type"] == "ANY_OF" else found == wanted


def _build_token(digest: str, start: int) -> str:
    return base64.b64encode(f"{digest}:{start}".encode()).decode()


def _parse_token(token: str | None, digest: str, length: int) -> int:
    """Where the page of a token starts. Raises PriceListTokenError for one of other filters, or of elsewhere."""
    if token is None:
        return 0
    for start in range(length):
        if token == _build_token(digest, start):
            return start
    raise PriceListTokenError(f"NextToken {token!r} is not one that GetProducts returned for these filters")
