"""Google Cloud: settings, requests as plain values, a sender, a price table, and the files of `init`."""

from synthbank.cloud.building import build_requests, pack
from synthbank.cloud.jobs import JobOptions, Machine, generate_request, train_request
from synthbank.cloud.prices import build_cost, endpoint_cost, job_cost, load_prices, standing_costs
from synthbank.cloud.request import Request
from synthbank.cloud.sending import Sender, sender
from synthbank.cloud.serving import (
    deploy_requests,
    images_of,
    predict_request,
    status_requests,
    undeploy_requests,
)
from synthbank.cloud.settings import CloudSettings, load_settings, make_settings
from synthbank.cloud.setup import setup_files, write_files

__all__ = [
    "CloudSettings",
    "JobOptions",
    "Machine",
    "Request",
    "Sender",
    "build_cost",
    "build_requests",
    "deploy_requests",
    "endpoint_cost",
    "generate_request",
    "images_of",
    "job_cost",
    "load_prices",
    "load_settings",
    "make_settings",
    "pack",
    "predict_request",
    "sender",
    "setup_files",
    "standing_costs",
    "status_requests",
    "train_request",
    "undeploy_requests",
    "write_files",
]
